"""A small HTTP server for tests of supervision: ``scripted_child.py HOST PORT BEHAVIOUR``."""

from __future__ import annotations

import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HOST, PORT, BEHAVIOUR = sys.argv[1:4]


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/key":
            key = os.environ["TRIPTYCH_SERVER_KEY"]
            authorised = self.headers.get("Authorization") == f"Bearer {key}"
            self.send_response(200 if authorised else 401)
        elif self.path == "/word":  # answers when one more byte has come
            self.rfile.read(1)
            self.send_response(200)
        elif self.path == "/secrets":
            self.send_response(500 if "planted" in os.environ.values() else 200)
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
ThreadingHTTPServer((HOST, int(PORT)), Handler).serve_forever()
