"""A small HTTP server for tests of supervision: ``scripted_child.py PORT BEHAVIOUR``."""

from __future__ import annotations

import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BEHAVIOUR = sys.argv[2]


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/key":
            authorised = self.headers.get("Authorization") == os.environ["TRIPTYCH_SERVER_KEY"]
            self.send_response(200 if authorised else 401)
        else:
            self.send_response(503 if BEHAVIOUR == "never ready" else 200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        if BEHAVIOUR == "talks much":
            sys.stderr.write("so much to say " * 100 + "\n")
            sys.stderr.flush()


if BEHAVIOUR == "ends at once":
    print("cannot open the index:", os.environ["TRIPTYCH_SERVER_KEY"])
    sys.exit(3)
if BEHAVIOUR == "ignores termination":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
