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
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

from bot import __version__
from bot.errors import TriptychError

if TYPE_CHECKING:
    from bot.chat.compare import Comparison
    from bot.library.ingest import Ingested, Progress
    from bot.library.retrieve import Evidence
    from bot.services import Services
    from bot.tuning.adapters import Adapter

Document = dict[str, Any]

INTERRUPTED = 130
_DESCRIPTION = """\
One question, one base model, several strategies, side by side.

The strategies are prompt, few-shot, rag, adapter and hybrid. Every command works on the same
records, documents and servers as the page, also while the page runs."""
_EXAMPLES = """\
examples:
  python -m bot ask "How hot does the KL-200 get?"
  python -m bot ask "How hot does the KL-200 get?" --strategy rag --strategy hybrid --json
  python -m bot ingest handbook.pdf prices.csv
  python -m bot train examples.jsonl --name mine && python -m bot ask … --adapter mine"""


@dataclass(frozen=True)
class Outcome:
    """What a command made: its JSON document, and whether it succeeded."""

    document: Document
    ok: bool = True


class UsageError(Exception):
    """The command line itself is wrong."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    with _claimed_stdout() as output:
        try:
            return _run(given, output)
        except KeyboardInterrupt:
            print("Interrupted.", file=sys.stderr)
            return INTERRUPTED
        except BrokenPipeError:
            return 1


def _run(given: Sequence[str], output: TextIO) -> int:
    as_json = "--json" in given
    try:
        options = _parser(output).parse_args(given)
        _quieten()
        outcome: Outcome = options.run(options, None if as_json else output)
    except UsageError as error:
        return _fail(str(error), output if as_json else None, status=2)
    except TriptychError as error:
        return _fail(str(error), output if as_json else None, status=1)
    if as_json:
        _write_json(outcome.document, output)
    else:
        options.show(outcome.document, output)
    output.flush()
    return 0 if outcome.ok else 1


def _fail(message: str, output: TextIO | None, *, status: int) -> int:
    print(message, file=sys.stderr)
    if output is not None:
        _write_json({"error": message}, output)
    return status


def _write_json(document: Document, output: TextIO) -> None:
    json.dump(document, output, ensure_ascii=False, indent=2)
    output.write("\n")
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


def _quieten() -> None:
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(name)s: %(message)s")
    for chatty in ("httpx", "httpx2", "chromadb", "sentence_transformers", "transformers"):
        logging.getLogger(chatty).setLevel(logging.ERROR)


# ---------------------------------------------------------------- the command line


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
    parser.set_defaults(run=_version, show=_show_version)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=_Parser)

    ask = _command(commands, "ask", _ask, _show_nothing, "put a question to several strategies")
    ask.add_argument("question", metavar="QUESTION", help="the question, in quotes")
    ask.add_argument(
        "--strategy",
        metavar="NAME",
        action="append",
        type=_strategy_name,
        help="prompt, few-shot, rag, adapter or hybrid; repeat it for several (default: all five)",
    )
    ask.add_argument("--adapter", metavar="NAME", help="which adapter answers (see `adapters`)")
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

    ingest = _command(commands, "ingest", _ingest, _show_ingested, "put documents into the library")
    ingest.add_argument(
        "paths",
        metavar="PATH",
        nargs="*",
        type=Path,
        help="a file, or a folder of them, copied into the knowledge folder; without any, the "
        "knowledge folder is read again",
    )

    search = _command(commands, "search", _search, _show_found, "search the library, with scores")
    search.add_argument("query", metavar="QUERY", help="what to look for, in quotes")
    search.add_argument(
        "--top", metavar="N", type=_number(int, 1, 50), default=5, help="how many (default: 5)"
    )

    _command(commands, "documents", _documents, _show_documents, "list what is in the library")

    forget = _command(commands, "forget", _forget, _show_forgotten, "delete a document")
    forget.add_argument("name", metavar="NAME", help="as `documents` lists it; its file goes too")

    train = _command(commands, "train", _train, _show_trained, "fine-tune an adapter")
    train.add_argument("examples", metavar="EXAMPLES", type=Path, help="chat examples, JSON Lines")
    train.add_argument("--name", metavar="NAME", required=True, help="name of the adapter")
    train.add_argument("--epochs", metavar="N", type=_number(int, 1, 1000), help="passes over all")
    train.add_argument("--rank", metavar="N", type=_number(int, 1, 256), help="width of the LoRA")
    train.add_argument("--learning-rate", metavar="RATE", type=_number(float, 1e-7, 1.0))
    train.add_argument("--seed", metavar="N", type=_number(int, 0, 2**31 - 1))

    _command(commands, "adapters", _adapters, _show_adapters, "list the fine-tuned adapters")
    _command(
        commands,
        "doctor",
        _doctor,
        _show_doctor,
        "check every part, and that the experiment is controlled",
    )
    return parser


def _command(
    commands: Any,
    name: str,
    run: Callable[[argparse.Namespace, TextIO | None], Outcome],
    show: Callable[[Document, TextIO], None],
    summary: str,
) -> argparse.ArgumentParser:
    sentence = f"{summary[0].upper()}{summary[1:]}."
    parser: argparse.ArgumentParser = commands.add_parser(name, help=summary, description=sentence)
    parser.add_argument(
        "--json", action="store_true", help="print one JSON document and nothing else"
    )
    parser.set_defaults(run=run, show=show)
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


# ---------------------------------------------------------------- commands


@contextmanager
def _services() -> Iterator[Services]:
    from bot.services import open_services
    from bot.settings import read_settings

    services = open_services(read_settings())
    try:
        yield services
    finally:
        services.close()


def _version(options: argparse.Namespace, output: TextIO | None) -> Outcome:
    if not options.version:
        raise UsageError("A command is needed. See `python -m bot --help`.")
    return Outcome({"version": __version__})


def _ask(options: argparse.Namespace, output: TextIO | None) -> Outcome:
    import asyncio

    from bot.chat.compare import Options, compare
    from bot.chat.question import Question
    from bot.chat.strategies import STRATEGIES, strategy

    text = options.question.strip()
    if not text:
        raise TriptychError("The question is empty.", cure="Write it in quotes after `ask`.")
    chosen = [strategy(name) for name in dict.fromkeys(options.strategy or ())]
    chosen = chosen or list(STRATEGIES)
    with _services() as services:
        if any(one.retrieves for one in chosen):
            _index_when_empty(services)
        settings, profile = services.settings, services.model.profile
        adapter = options.adapter or services.default_adapter()
        comparison = compare(
            services.bench,
            Question(text, {}),
            chosen,
            Options(
                answer_tokens=_given(options.max_tokens, settings.answer_tokens),
                temperature=_given(options.temperature, settings.temperature),
                seed=_given(options.seed, settings.seed),
                passages=_given(options.passages, profile.passages),
                adapter=adapter if any(one.adapted for one in chosen) else "",
            ),
        )
        answers = asyncio.run(_follow(comparison, output))
    ordered = [answers[one.name] for one in chosen]
    succeeded = all(answer["status"] == "complete" for answer in ordered)
    return Outcome({"question": text, "answers": ordered}, succeeded)


async def _follow(comparison: Comparison, output: TextIO | None) -> dict[str, Document]:
    """Every strategy's answer as a document, shown on `output` when it is finished."""
    from contextlib import aclosing

    from bot.chat.events import Failed, Finished, Retrieved

    answers: dict[str, Document] = {}
    evidence: dict[str, tuple[Evidence, ...]] = {}
    async with aclosing(aiter(comparison)) as events:
        async for name, event in events:
            match event:
                case Retrieved():
                    evidence[name] = event.evidence
                case Finished() | Failed():
                    answers[name] = _answer(name, event, evidence.get(name, ()))
                    if output is not None:
                        _show_answer(answers[name], output)
    return answers


def _answer(name: str, event: Any, evidence: tuple[Evidence, ...]) -> Document:
    from dataclasses import asdict

    from bot.chat.events import Finished

    finished = event if isinstance(event, Finished) else None
    return {
        "strategy": name,
        "status": "complete" if finished else "failed",
        "text": event.text,
        "evidence": [
            {"document": one.document, "quote": one.quote, "score": round(float(one.score), 4)}
            for one in evidence
        ],
        "first_token_seconds": _seconds(finished.first_token_seconds) if finished else None,
        "total_seconds": _seconds(finished.total_seconds) if finished else None,
        "prompt_tokens": finished.prompt_tokens if finished else 0,
        "answer_tokens": finished.answer_tokens if finished else 0,
        "fingerprint": asdict(finished.fingerprint) if finished else None,
        "error": None if finished else f"{event.message} {event.cure}".strip(),
    }


def _ingest(options: argparse.Namespace, output: TextIO | None) -> Outcome:
    from bot.library.ingest import add_files, sync_folder

    with _services() as services:
        if options.paths:
            results = _report(add_files(services.library, options.paths))
        else:
            results = _report(sync_folder(services.library))
    documents = [
        {
            "name": one.name,
            "status": one.status,
            "passages": one.passages,
            "error": one.error or None,
        }
        for one in results
    ]
    return Outcome({"documents": documents}, all(one.status != "failed" for one in results))


def _search(options: argparse.Namespace, output: TextIO | None) -> Outcome:
    from bot.library.retrieve import search

    with _services() as services:
        _index_when_empty(services)
        found = search(services.library, options.query, top=options.top)
    passages = [
        {
            "document": one.passage.document,
            "heading": one.passage.heading,
            "text": one.passage.text,
            "quote": one.quote,
            "score": round(float(one.score), 4),
            "dense_score": round(float(one.dense_score), 4),
            "keyword_score": round(float(one.keyword_score), 4),
        }
        for one in found
    ]
    return Outcome({"passages": passages})


def _documents(options: argparse.Namespace, output: TextIO | None) -> Outcome:
    from dataclasses import asdict

    from bot.library.ingest import documents

    with _services() as services:
        rows = [asdict(row) for row in documents(services.library)]
    return Outcome({"documents": [row | {"error": row["error"] or None} for row in rows]})


def _forget(options: argparse.Namespace, output: TextIO | None) -> Outcome:
    from bot.library.ingest import forget

    with _services() as services:
        forget(services.library, options.name)
    return Outcome({"name": options.name, "status": "removed"})


def _train(options: argparse.Namespace, output: TextIO | None) -> Outcome:
    from contextlib import closing

    from bot.chat.prompts import system_prompt
    from bot.models.catalog import embedded_weights
    from bot.settings import read_settings
    from bot.tuning.recipe import TrainingRecipe
    from bot.tuning.train import TrainingStep, run_training

    settings, weights = read_settings(), embedded_weights()
    choices = {
        name: getattr(options, name)
        for name in ("epochs", "rank", "learning_rate", "seed")
        if getattr(options, name) is not None
    }
    recipe = TrainingRecipe(system_prompt=system_prompt(), base_sha256=weights.sha256, **choices)
    losses: list[float] = []
    trained: Document = {}
    job = run_training(options.examples, recipe, weights.path, settings.adapters_dir, options.name)
    with _StatusLine() as status, closing(job) as events:  # type: ignore[type-var]
        for event in events:
            if isinstance(event, TrainingStep):
                losses.append(event.loss)
                status.show(
                    f"step {event.step} of {event.steps}  loss {event.loss:.3f}  "
                    f"{event.tokens_per_second:.0f} tokens/s  {event.seconds_left:.0f} s left"
                )
            else:
                trained = _adapter(event)
    return Outcome(
        {"adapter": trained, "steps": len(losses), "loss": losses[-1] if losses else None}
    )


def _adapters(options: argparse.Namespace, output: TextIO | None) -> Outcome:
    from bot.settings import read_settings
    from bot.tuning.adapters import adapters, broken_adapters

    folder = read_settings().adapters_dir
    broken = [{"name": one.name, "error": one.reason} for one in broken_adapters(folder)]
    return Outcome({"adapters": [_adapter(one) for one in adapters(folder)], "broken": broken})


def _adapter(adapter: Adapter) -> Document:
    from dataclasses import asdict

    return {
        "name": adapter.name,
        "sha256": adapter.sha256,
        "base_sha256": adapter.base_sha256,
        "size_bytes": adapter.size_bytes,
        "created_at": adapter.created_at,
        "recipe": asdict(adapter.recipe),
    }


def _doctor(options: argparse.Namespace, output: TextIO | None) -> Outcome:
    from bot import doctor
    from bot.services import missing_parts

    missing = missing_parts()
    if missing:
        report = doctor.report_missing(missing)
    else:
        with _services() as services:
            report = doctor.examine(services)
    return Outcome(report.as_dict(), report.ok)


def _index_when_empty(services: Services) -> None:
    """On a fresh machine the first question would find nothing: read the knowledge folder."""
    from bot.library.ingest import documents, sync_folder

    if not documents(services.library):
        print("The index is empty: reading the knowledge folder.", file=sys.stderr)
        _report(sync_folder(services.library))


def _report(events: Iterable[Progress | Ingested]) -> list[Ingested]:
    """Run an index run to its end, with its progress on standard error."""
    from bot.library.ingest import Progress

    results: list[Ingested] = []
    with _StatusLine() as status:
        for event in events:
            if isinstance(event, Progress):
                status.show(f"{event.document}: {event.stage} {event.done}/{event.total}")
            else:
                results.append(event)
                if event.status != "unchanged":
                    status.keep(f"{event.name}: {event.error or event.status}")
    return results


def _given(value: Any, default: Any) -> Any:
    return default if value is None else value


def _seconds(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


# ---------------------------------------------------------------- for a person


class _StatusLine:
    """One line on a terminal's standard error that is written over; silent where there is none."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()

    def __enter__(self) -> _StatusLine:
        return self

    def __exit__(self, *_: object) -> None:
        self._clear()

    def show(self, text: str) -> None:
        if self._shown:
            sys.stderr.write(f"\r\x1b[K{_printable(text)[:100]}")
            sys.stderr.flush()

    def keep(self, text: str) -> None:
        self._clear()
        print(_printable(text), file=sys.stderr)

    def _clear(self) -> None:
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def _printable(text: str) -> str:
    """The text without control characters: a document must not steer the terminal."""
    return "".join(sign for sign in text if sign in "\n\t" or sign.isprintable())


def _show_nothing(document: Document, output: TextIO) -> None:
    """Each answer was shown when it was finished."""


def _show_version(document: Document, output: TextIO) -> None:
    print(f"Triptych {document['version']}", file=output)


def _show_answer(answer: Document, output: TextIO) -> None:
    print(f"\n── {answer['strategy']} ──", file=output)
    if answer["text"]:
        print(_printable(answer["text"]), file=output)
    if answer["error"]:
        print(f"Failed: {answer['error']}", file=output)
    for one in answer["evidence"]:
        print(f"  “{_printable(one['quote'])}” — {_printable(one['document'])}", file=output)
    if answer["status"] == "complete":
        first = answer["first_token_seconds"]
        reached = "" if first is None else f"first token {first:.2f} s, "
        print(
            f"  {reached}{answer['total_seconds']:.2f} s, {answer['prompt_tokens']} prompt + "
            f"{answer['answer_tokens']} answer tokens",
            file=output,
        )
    output.flush()


def _show_ingested(document: Document, output: TextIO) -> None:
    _show_table(
        ("document", "status", "passages", ""),
        [
            (one["name"], one["status"], str(one["passages"]), one["error"] or "")
            for one in document["documents"]
        ],
        output,
    )


def _show_found(document: Document, output: TextIO) -> None:
    if not document["passages"]:
        print("Nothing was found.", file=output)
    for one in document["passages"]:
        print(
            f"{one['score']:.3f}  (dense {one['dense_score']:.3f}, keyword "
            f"{one['keyword_score']:.3f})  {_printable(one['document'])} — "
            f"{_printable(one['heading'])}\n       “{_printable(one['quote'])}”",
            file=output,
        )


def _show_documents(document: Document, output: TextIO) -> None:
    _show_table(
        ("document", "type", "kilobytes", "passages", "status", "updated"),
        [
            (
                one["name"],
                one["kind"],
                f"{one['size_bytes'] / 1000:.1f}",
                str(one["passages"]),
                one["error"] or one["status"],
                one["updated_at"],
            )
            for one in document["documents"]
        ],
        output,
    )


def _show_forgotten(document: Document, output: TextIO) -> None:
    print(f"{document['name']} is forgotten.", file=output)


def _show_trained(document: Document, output: TextIO) -> None:
    print(
        f"{document['adapter']['name']} is trained: {document['steps']} steps, "
        f"loss {document['loss']:.3f}, {document['adapter']['size_bytes'] / 1e6:.1f} MB.",
        file=output,
    )


def _show_adapters(document: Document, output: TextIO) -> None:
    rows = [
        (one["name"], f"{one['size_bytes'] / 1e6:.1f}", one["created_at"], "")
        for one in document["adapters"]
    ]
    rows += [(one["name"], "", "", one["error"]) for one in document["broken"]]
    _show_table(("adapter", "megabytes", "trained", ""), rows, output)


def _show_doctor(document: Document, output: TextIO) -> None:
    _show_table(
        ("part", "version", "address", "state", ""),
        [
            (one["name"], one["version"], one["address"], one["state"], one["detail"])
            for one in document["parts"]
        ],
        output,
    )
    print(file=output)
    for proof in document["proofs"]:
        mark = "proved" if proof["passed"] else "FAILED"
        print(f"{mark}  {proof['name']}: {_printable(proof['detail'])}", file=output)
    print("All is well." if document["ok"] else "Something is wrong: see above.", file=output)


def _show_table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]], output: TextIO) -> None:
    if not rows:
        print("There is none.", file=output)
        return
    table = [head, *(tuple(_printable(cell) for cell in row) for row in rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(head))]
    for row in table:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip(), file=output)
