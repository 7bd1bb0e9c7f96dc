"""What a model's child server runs: llama.cpp's own server on the loopback interface.

``python -m bot.models.serve --weights FILE --sha256 HEX --alias NAME --port N …``

The key comes from the environment (`TRIPTYCH_SERVER_KEY`), never from the command line, which
other users of the machine can read. The server lives until its standard input closes.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bot.errors import WeightsError
from bot.models.catalog import verify

SLOTS = 4
"""Answers that one server generates at once; a further one waits for a free slot."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Verify the weights, serve them, and end the process when standard input closes; returns
    only when there is nothing to serve."""
    options = _options(arguments)
    key = os.environ.pop("TRIPTYCH_SERVER_KEY", "")
    if not key:
        sys.stderr.write("TRIPTYCH_SERVER_KEY is not set: a server without a key is not started.\n")
        return 2
    try:
        verify(options.weights, options.sha256)
        if options.adapter:
            verify(options.adapter, options.adapter_sha256)
    except WeightsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    server = _serve(options, key)
    sys.stderr.write(f"Serving at {server.listening_address}\n")
    sys.stderr.flush()
    sys.stdin.buffer.read()
    # A server that is destroyed within milliseconds of its start waits for ever for a loop that
    # had not begun when it was told to end. There is nothing to tidy up: leave without.
    os._exit(0)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bot.models.serve")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--sha256", required=True)
    parser.add_argument("--alias", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--context-tokens", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--adapter", type=Path)
    parser.add_argument("--adapter-sha256", default="")
    parser.add_argument("--adapter-scale", type=float, default=1.0)
    return parser.parse_args(arguments)


def _serve(options: argparse.Namespace, key: str) -> Any:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(options.weights)
    params.model_alias = {options.alias}
    if options.adapter:
        params.lora_adapters = [
            xllamacpp.CommonAdapterLoraInfo(str(options.adapter), options.adapter_scale)
        ]
    params.hostnames = ["127.0.0.1"]
    params.port = options.port
    params.api_keys = [key]
    params.ui = False
    params.endpoint_slots = False
    params.endpoint_props = False
    params.verbosity = 0
    params.sse_ping_interval = -1  # silence must be silence, or a stuck server is waited for
    params.n_parallel = SLOTS
    params.n_ctx = SLOTS * options.context_tokens  # each slot has its own equal part
    params.fit_params = False
    _compute_alike(params, xllamacpp)
    for cpu in (params.cpuparams, params.cpuparams_batch):
        cpu.n_threads = options.threads
        cpu.poll = 0  # idle threads sleep instead of spinning: two servers share the cores
    return xllamacpp.Server(params)


def _compute_alike(params: Any, xllamacpp: Any) -> None:
    """Make an answer depend on its request only, to the last bit, whatever runs beside it.

    Measured: with a unified context, flash attention or a reused prompt, the logarithms of the
    probabilities move by up to 0.3 with the company in the batch or the requests before, and at
    temperature 0 other words are chosen. With none of them they do not move at all, at the
    same speed. A request may still ask for its prompt to be reused (`cache_prompt`).
    """
    params.kv_unified = False
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    params.cache_prompt = False
    params.cache_ram_mib = 0  # no copies of earlier prompts: the default is eight gigabytes


if __name__ == "__main__":
    sys.exit(main())
