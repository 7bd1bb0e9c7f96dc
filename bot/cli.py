"""The command line: the same services as the page, for scripts and for checking without one.

Each command makes one JSON document; `--json` prints it, otherwise it is shown to a person.
Standard output carries nothing else: progress, warnings and what native libraries print go to
standard error. The exit status is 0 only on success, 2 for a wrong command line, 130 for Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, current_thread, main_thread
from typing import Any, NoReturn, TextIO

from bot import commands, terminal
from bot.commands import Outcome, UsageError
from bot.errors import TriptychError
from bot.logs import escaped_json, log_on_one_line, printable
from bot.terminal import Document

INTERRUPTED = 130
_DESCRIPTION = """\
One question, one base model, several strategies, side by side.

The strategies are prompt, few-shot, rag, adapter and hybrid. Every command works on the same
records, documents and servers as the page, also while the page runs."""
_EXAMPLES = """\
examples:
  python -m bot ask "How hot can the Heron 7 get?"
  python -m bot ask "How hot can the Heron 7 get?" --strategy rag --strategy hybrid --json
  python -m bot ingest handbook.pdf prices.csv
  python -m bot train examples.jsonl --name mine && python -m bot ask … --adapter mine
  python -m bot train pairs.csv --name mine --preset quick --set rank=8 --folds 4"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in given
    with _claimed_stdout() as output, _interruptible() as interrupted:
        try:
            return _run(given, output, as_json=as_json)
        except BrokenPipeError:
            return 1
        except (Exception, KeyboardInterrupt) as error:
            # A library that was interrupted at work may have made another error of it.
            if interrupted.is_set() or isinstance(error, KeyboardInterrupt):
                print("Interrupted.", file=sys.stderr)
                return INTERRUPTED
            if not isinstance(error, TriptychError | UsageError):
                raise
            status = 2 if isinstance(error, UsageError) else 1
            return _fail(str(error), output if as_json else None, status=status)


def _run(given: Sequence[str], output: TextIO, *, as_json: bool) -> int:
    options = _parser(output).parse_args(given)
    _quieten()
    outcome: Outcome = options.run(options, None if as_json else output)
    if as_json:
        _write_json(outcome.document, output)
    else:
        options.show(outcome.document, output)
    output.flush()
    return 0 if outcome.ok else 1


def _fail(message: str, output: TextIO | None, *, status: int) -> int:
    print(printable(message), file=sys.stderr)
    if output is not None:
        _write_json({"error": message}, output)
    return status


def _write_json(document: Document, output: TextIO) -> None:
    output.write(f"{escaped_json(json.dumps(document, ensure_ascii=False, indent=2))}\n")
    output.flush()


@contextmanager
def _claimed_stdout() -> Iterator[TextIO]:
    """The real standard output; meanwhile everything else that writes there, native libraries
    included, reaches standard error."""
    sys.stdout.flush()
    real = os.dup(1)
    os.dup2(2, 1)
    output = os.fdopen(os.dup(real), "w", encoding="utf-8", errors="backslashreplace")
    try:
        yield output
    finally:
        with suppress(BrokenPipeError):
            output.close()
        sys.stdout.flush()
        os.dup2(real, 1)
        os.close(real)


@contextmanager
def _interruptible() -> Iterator[Event]:
    """Ctrl-C raises KeyboardInterrupt, as ever, and is remembered."""
    interrupted = Event()

    def interrupt(_signal: int, _frame: object) -> None:
        interrupted.set()
        raise KeyboardInterrupt

    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    if ignored or current_thread() is not main_thread():  # another may not set a handler
        yield interrupted
        return
    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)


def _quieten() -> None:
    log_on_one_line("%(name)s: %(message)s")
    for chatty in ("httpx", "httpx2", "chromadb", "transformers"):
        logging.getLogger(chatty).setLevel(logging.ERROR)


class _Parser(argparse.ArgumentParser):
    """Raises instead of exiting, so that a wrong command line can be reported as JSON."""

    output: TextIO | None = None

    def __init__(self, **values: Any) -> None:
        super().__init__(**values, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message[:1].upper()}{message[1:]}. See `{self.prog} --help`.")

    def print_help(self, file: Any = None) -> None:
        super().print_help(file or _Parser.output)


def _parser(output: TextIO) -> argparse.ArgumentParser:
    _Parser.output = output
    raw = argparse.RawDescriptionHelpFormatter
    parser = _Parser(
        prog="python -m bot", description=_DESCRIPTION, epilog=_EXAMPLES, formatter_class=raw
    )
    parser.add_argument(
        "--version", action="store_true", dest="version", help="show the version and exit"
    )
    parser.set_defaults(run=commands.run_version, show=terminal.show_version)
    entries = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=_Parser)

    ask = _command(entries, "ask", terminal.show_nothing, "put a question to several strategies")
    ask.add_argument("question", metavar="QUESTION", help="the question, in quotes")
    ask.add_argument(
        "--strategy",
        metavar="NAME",
        action="append",
        type=_strategy_name,
        help="prompt, few-shot, rag, adapter or hybrid; repeat it for several (default: all five)",
    )
    ask.add_argument(
        "--model",
        metavar="NAME",
        action="append",
        help="which model answers, as `models` lists it or as a setting would spell it; repeat it "
        "for several side by side (default: TRIPTYCH_MODEL)",
    )
    ask.add_argument(
        "--adapter",
        metavar="NAME",
        action="append",
        help="which adapter answers (see `adapters`); repeat it for several side by side",
    )
    ask.add_argument(
        "--temperature", type=_number(float, 0.0, 2.0), help="0 always takes the likeliest word"
    )
    ask.add_argument(
        "--max-tokens", metavar="N", type=_number(int, 1, 4096), help="longest answer, in tokens"
    )
    ask.add_argument(
        "--passages", metavar="N", type=_number(int, 1, 10), help="retrieved passages in a prompt"
    )
    ask.add_argument("--seed", metavar="N", type=_number(int, 0, 2**31 - 1), help="of the sampling")

    ingest = _command(entries, "ingest", terminal.show_ingested, "put documents into the library")
    ingest.add_argument(
        "paths",
        metavar="PATH",
        nargs="*",
        type=Path,
        help="a file, or a folder of them, copied into the knowledge folder; without any, the "
        "knowledge folder is read again",
    )

    search = _command(entries, "search", terminal.show_found, "search the library, with scores")
    search.add_argument("query", metavar="QUERY", help="what to look for, in quotes")
    search.add_argument(
        "--top", metavar="N", type=_number(int, 1, 50), default=5, help="how many (default: 5)"
    )

    _command(entries, "documents", terminal.show_documents, "list what is in the library")

    forget = _command(entries, "forget", terminal.show_forgotten, "delete a document")
    forget.add_argument("name", metavar="NAME", help="as `documents` lists it; its file goes too")

    train = _command(entries, "train", terminal.show_trained, "fine-tune an adapter")
    train.add_argument(
        "examples",
        metavar="EXAMPLES",
        nargs="?",
        type=Path,
        help="chat examples: JSON Lines, or CSV with question and answer",
    )
    train.add_argument("--name", metavar="NAME", help="name of the adapter")
    train.add_argument(
        "--preset",
        choices=("quick", "balanced", "thorough"),
        default="balanced",
        help="how long it may take (default: balanced)",
    )
    train.add_argument(
        "--set",
        metavar="KNOB=VALUE",
        action="append",
        help="a value of the recipe, such as epochs=8 or targets=q_proj,v_proj; repeat it for more",
    )
    train.add_argument(
        "--folds", metavar="K", type=_number(int, 0, 20), help="cross-validate in so many parts"
    )
    train.add_argument(
        "--resume", metavar="ID", help="go on with an interrupted training (see `trainings`)"
    )
    train.add_argument(
        "--curve",
        action="store_true",
        help="instead of an adapter: how right one would be with fewer examples",
    )
    _command(entries, "trainings", terminal.show_trainings, "list the trainings, newest first")

    _add_adapters(entries)
    _command(entries, "models", terminal.show_models, "list the models, and say hello to each")

    fetch = _command(entries, "fetch", terminal.show_fetched, "fetch a model from a model hub")
    fetch.add_argument("name", metavar="NAME", help="hf:owner/repository/file.gguf")

    _command(
        entries,
        "doctor",
        terminal.show_doctor,
        "check every part, and that the experiment is controlled",
    )
    return parser


def _add_adapters(entries: Any) -> None:
    """The list of adapters, and what can be done with one."""
    listing = _command(
        entries, "adapters", terminal.show_adapters, "list the fine-tuned adapters, or act on one"
    )
    actions = listing.add_subparsers(title="with one adapter", metavar="ACTION")
    export = _command(actions, "export", terminal.show_exported, "write an adapter as one file")
    export.add_argument("name", metavar="NAME", help="as `adapters` lists it")
    export.add_argument(
        "--as",
        dest="kind",
        choices=("peft", "lora", "merged"),
        default="peft",
        help="peft: a zip that PEFT loads (default); lora: a GGUF file beside the base; merged: "
        "base and adapter in one GGUF file in 16 bits",
    )
    export.add_argument("out", metavar="OUT", type=Path, help="the file to write")
    brought = _command(
        actions, "import", terminal.show_checked, "take in an adapter that was made elsewhere"
    )
    brought.add_argument(
        "paths",
        metavar="PATH",
        nargs="+",
        type=Path,
        help="PEFT's folder, a zip of it, or adapter_model.safetensors and adapter_config.json",
    )
    brought.add_argument("--name", metavar="NAME", required=True, help="of the adapter, here")
    check = _command(
        actions, "check", terminal.show_checked, "check that an adapter is served as it was trained"
    )
    check.add_argument("name", metavar="NAME", help="as `adapters` lists it")
    delete = _command(actions, "delete", terminal.show_deleted, "delete an adapter for good")
    delete.add_argument("name", metavar="NAME", help="as `adapters` lists it")


def _command(
    entries: Any,
    name: str,
    show: Callable[[Document, TextIO], None],
    summary: str,
) -> argparse.ArgumentParser:
    sentence = f"{summary[0].upper()}{summary[1:]}."
    parser: argparse.ArgumentParser = entries.add_parser(name, help=summary, description=sentence)
    parser.add_argument(
        "--json", action="store_true", help="print one JSON document and nothing else"
    )
    parser.set_defaults(run=getattr(commands, f"run_{name}"), show=show)
    return parser


def _number(kind: type[int] | type[float], low: float, high: float) -> Callable[[str], float]:
    def read(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = kind(low) - 1
        if not low <= value <= high:
            what = "whole number" if kind is int else "number"
            raise argparse.ArgumentTypeError(f"{text!r} is not a {what} from {low:g} to {high:g}")
        return value

    return read


def _strategy_name(text: str) -> str:
    from bot.chat.strategies import strategy

    try:
        return strategy(text).name
    except TriptychError as error:
        raise argparse.ArgumentTypeError(str(error).rstrip(".")) from error
