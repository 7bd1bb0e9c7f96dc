"""What each command does: services in, one JSON document out."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from bot import __version__
from bot.errors import TriptychError
from bot.terminal import Document, StatusLine, show_answer, training_progress

if TYPE_CHECKING:
    from bot.chat.columns import Column
    from bot.chat.compare import Comparison
    from bot.library.ingest import Ingested, Progress
    from bot.library.retrieve import Evidence
    from bot.services import Services
    from bot.tuning.adapters import Adapter
    from bot.tuning.recipe import TrainingRecipe
    from bot.tuning.trainings import Training, Trainings

FOLLOW_SECONDS = 0.5
"""How often the progress of a training is shown."""


@dataclass(frozen=True)
class Outcome:
    """What a command made: its JSON document, and whether it succeeded."""

    document: Document
    ok: bool = True


class UsageError(Exception):
    """The command line itself is wrong."""


@contextmanager
def _services() -> Iterator[Services]:
    from bot.damage import notes
    from bot.services import open_services
    from bot.settings import read_settings

    settings = read_settings()
    known = notes(settings.data_dir)
    try:
        services = open_services(settings)
        try:
            yield services
        finally:
            services.close()
    finally:
        for note in notes(settings.data_dir):
            if note not in known:
                print(note.text, file=sys.stderr)


def run_version(options: argparse.Namespace, output: TextIO | None) -> Outcome:
    if not options.version:
        raise UsageError("A command is needed. See `python -m bot --help`.")
    return Outcome({"version": __version__})


def run_ask(options: argparse.Namespace, output: TextIO | None) -> Outcome:
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
        main, *others = dict.fromkeys(options.model or (services.models.main,))
        for name in (main, *others):
            services.models.offer(name)
        settings, profile = services.settings, services.models.get(main).profile
        adapted = any(one.adapted for one in chosen)
        first_adapter, *more_adapters = options.adapter or [""]
        asked = Options(
            answer_tokens=_given(options.max_tokens, settings.answer_tokens),
            temperature=_given(options.temperature, settings.temperature),
            seed=_given(options.seed, settings.seed),
            passages=_given(options.passages, profile.passages),
            adapter=(first_adapter or services.default_adapter(main)) if adapted else "",
            more_adapters=tuple(more_adapters) if adapted else (),
            models=(main, *others),
            other_adapters=_other_adapters(services, others) if adapted else {},
        )
        comparison = compare(services.bench, Question(text, {}), chosen, asked)
        columns = {column.key: column for column in asked.columns(chosen)}
        answers = asyncio.run(_follow(comparison, columns, output))
    ordered = [answers[key] for key in columns]
    succeeded = all(answer["status"] == "complete" for answer in ordered)
    return Outcome({"question": text, "answers": ordered}, succeeded)


def _other_adapters(services: Services, models: Iterable[str]) -> dict[str, str]:
    """The adapter that answers on each further model that has one."""
    first = {name: services.default_adapter(name) for name in models}
    return {name: adapter for name, adapter in first.items() if adapter}


async def _follow(
    comparison: Comparison, columns: Mapping[str, Column], output: TextIO | None
) -> dict[str, Document]:
    """Every column's answer as a document, shown on `output` when it is finished."""
    from contextlib import aclosing

    from bot.chat.events import Failed, Finished, Retrieved

    answers: dict[str, Document] = {}
    evidence: dict[str, tuple[Evidence, ...]] = {}
    async with aclosing(aiter(comparison)) as events:
        async for key, event in events:
            match event:
                case Retrieved():
                    evidence[key] = event.evidence
                case Finished() | Failed():
                    answers[key] = _answer(columns[key], event, evidence.get(key, ()))
                    if output is not None:
                        show_answer(answers[key], output)
    return answers


def _answer(column: Column, event: Any, evidence: tuple[Evidence, ...]) -> Document:
    from dataclasses import asdict

    from bot.chat.events import Finished

    finished = event if isinstance(event, Finished) else None
    return {
        "strategy": column.strategy.name,
        "model": column.model,
        "adapter": column.adapter or None,
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
        "cost_dollars": finished.cost if finished else None,
        "fingerprint": asdict(finished.fingerprint) if finished else None,
        "error": None if finished else f"{event.message} {event.cure}".strip(),
    }


def run_ingest(options: argparse.Namespace, output: TextIO | None) -> Outcome:
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


def run_search(options: argparse.Namespace, output: TextIO | None) -> Outcome:
    from bot.library.retrieve import search

    with _services() as services:
        _index_when_empty(services)
        found = services.mended(lambda: search(services.library, options.query, top=options.top))
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


def run_documents(options: argparse.Namespace, output: TextIO | None) -> Outcome:
    from dataclasses import asdict

    from bot.library.ingest import documents

    with _services() as services:
        rows = [asdict(row) for row in documents(services.library)]
    return Outcome({"documents": [row | {"error": row["error"] or None} for row in rows]})


def run_forget(options: argparse.Namespace, output: TextIO | None) -> Outcome:
    from bot.library.ingest import forget

    with _services() as services:
        forget(services.library, options.name)
    return Outcome({"name": options.name, "status": "removed"})


def run_train(options: argparse.Namespace, output: TextIO | None) -> Outcome:
    from bot.evidence.parity import read_parity
    from bot.tuning.adapters import adapter
    from bot.tuning.examples import read_examples

    with _services() as services:
        if options.curve:
            return _run_curve(services, options)
        if options.resume:
            training_id = options.resume
            services.trainings.resume(training_id)
        elif options.examples and options.name:
            examples = read_examples(options.examples)
            recipe = _recipe(options, len(examples))
            if recipe.grounding:
                _index_when_empty(services)
            training_id = services.trainings.submit(examples, recipe, options.name)
        else:
            raise UsageError("EXAMPLES and --name are needed, or --resume with a training's id.")
        training = _trained(services.trainings, training_id)
        made = training.report is not None or training.state == "done"
        found = adapter(services.settings.adapters_dir, training.name) if made else None
        parity = read_parity(found.folder) if found else None
    shown = {
        **_training(training),
        "adapter": _adapter(found) if found else None,
        "not_offered": None if parity is None or parity.passed else parity.reason,
    }
    return Outcome(shown, training.state == "done" and parity is not None and parity.passed)


def _run_curve(services: Services, options: argparse.Namespace) -> Outcome:
    """Measure a learning curve to its end; Ctrl+C cancels it, and what is measured stays."""
    from dataclasses import asdict

    from bot.evidence.curve import plan, verdict
    from bot.tuning.examples import read_examples

    if not options.examples:
        raise UsageError("EXAMPLES are needed for a learning curve.")
    examples = read_examples(options.examples)
    recipe = _recipe(options, len(examples))
    plan(examples, recipe.seed)  # says so at once when there are too few
    _index_when_empty(services)
    title = options.name or options.examples.stem
    curve_id = services.curves.start(examples, recipe, title)
    with StatusLine() as status:
        while not services.curves.wait(FOLLOW_SECONDS):
            try:
                status.show(services.curves.get(curve_id).doing)
            except KeyboardInterrupt:
                services.curves.cancel(curve_id)
    curve = services.curves.get(curve_id)
    return Outcome({"curve": asdict(curve), "verdict": verdict(curve)}, curve.state == "done")


def _recipe(options: argparse.Namespace, examples: int) -> TrainingRecipe:
    from bot.chat.prompts import system_prompt
    from bot.models.catalog import embedded_weights
    from bot.tuning.presets import recipe_for

    changes = dict(_knob(text) for text in options.set or ())
    if options.folds is not None:
        changes["folds"] = options.folds
    return recipe_for(
        options.preset,
        examples=examples,
        system_prompt=system_prompt(),
        base_sha256=embedded_weights().sha256,
        **changes,
    )


def _knob(text: str) -> tuple[str, Any]:
    """A value of the recipe, from `name=value`."""
    from dataclasses import fields

    from bot.tuning.recipe import TrainingRecipe

    made_here = ("system_prompt", "base_sha256", "examples_sha256")
    kinds = {one.name: str(one.type) for one in fields(TrainingRecipe) if one.name not in made_here}
    name, _, value = text.partition("=")
    if name not in kinds:
        raise UsageError(f"--set {text}: known are {', '.join(kinds)}.")
    readers: dict[str, Callable[[str], Any]] = {
        "int": int,
        "float": float,
        "bool": lambda word: {"yes": True, "true": True, "no": False, "false": False}[word],
        "tuple[str, ...]": lambda words: tuple(words.split(",")),
    }
    try:
        return name, readers.get(kinds[name], str)(value)
    except (ValueError, KeyError) as error:
        raise UsageError(f"--set {text}: {value!r} is no {kinds[name]}.") from error


def _trained(trainings: Trainings, training_id: str) -> Training:
    """Follow a training to its end; Ctrl+C cancels it, and a second one ends it at once."""
    asked = False
    with StatusLine() as status:
        status.keep(f"training {training_id}")
        while (seen := trainings.get(training_id)).active:
            try:
                status.show(training_progress(_training(seen)))
                trainings.wait(training_id, FOLLOW_SECONDS)
            except KeyboardInterrupt:
                if asked:
                    raise
                asked = True
                trainings.cancel(training_id)
                status.keep("Cancelled: the best so far is kept. Ctrl+C again ends it at once.")
    return seen


def run_trainings(options: argparse.Namespace, output: TextIO | None) -> Outcome:
    with _services() as services:
        return Outcome({"trainings": [_training(one) for one in services.trainings.all()]})


def _training(training: Training) -> Document:
    from dataclasses import asdict

    last = training.steps[-1] if training.steps else None
    evaluation = training.evaluations[-1] if training.evaluations else None
    return {
        "id": training.id,
        "name": training.name,
        "state": training.state,
        "error": training.error or None,
        "place": training.place,
        "resumable": training.resumable,
        "created_at": training.created_at,
        "examples": training.examples,
        "steps": len(training.steps),
        "loss": last.loss if last else None,
        "last_step": asdict(last) if last else None,
        "last_evaluation": asdict(evaluation) if evaluation else None,
        "report": asdict(training.report) if training.report else None,
        "recipe": asdict(training.recipe),
    }


def run_adapters(options: argparse.Namespace, output: TextIO | None) -> Outcome:
    from bot.evidence.offers import offers
    from bot.settings import read_settings

    found = offers(read_settings().adapters_dir)
    sound = [
        {**_adapter(one.adapter), "state": one.state, "reason": one.reason or None}
        for one in found
        if one.adapter
    ]
    broken = [{"name": one.name, "error": one.reason} for one in found if not one.adapter]
    return Outcome({"adapters": sound, "broken": broken})


def run_export(options: argparse.Namespace, output: TextIO | None) -> Outcome:
    with _services() as services:
        path = services.export_adapter(options.name, options.kind, options.out)
    size = path.stat().st_size
    return Outcome({"name": options.name, "path": str(path), "size_bytes": size})


def run_import(options: argparse.Namespace, output: TextIO | None) -> Outcome:
    with _services() as services:
        services.import_adapter(options.paths, options.name)
        return _checked(services, options.name)


def run_check(options: argparse.Namespace, output: TextIO | None) -> Outcome:
    with _services() as services:
        return _checked(services, options.name)


def _checked(services: Services, name: str) -> Outcome:
    from dataclasses import asdict

    with StatusLine() as status:
        status.show(f"{name}: comparing what is served with what PEFT answers")
        parity = services.check_adapter(name)
    return Outcome({"name": name, **asdict(parity)}, parity.passed)


def run_delete(options: argparse.Namespace, output: TextIO | None) -> Outcome:
    with _services() as services:
        services.delete_adapter(options.name)
    return Outcome({"name": options.name, "status": "removed"})


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


def run_models(options: argparse.Namespace, output: TextIO | None) -> Outcome:
    from dataclasses import asdict

    with _services() as services:
        found = []
        for name in services.models.names():
            with StatusLine() as status:
                status.show(f"{name}: saying hello")
                checked = services.models.check(name)
            model = {"name": name, "main": name == services.models.main}
            found.append({**asdict(checked), **model, "seconds": _seconds(checked.seconds)})
    return Outcome({"models": found}, all(one["reachable"] for one in found))


def run_fetch(options: argparse.Namespace, output: TextIO | None) -> Outcome:
    from contextlib import closing

    with _services() as services, StatusLine() as status:
        with closing(services.models.fetch(options.name)) as progress:  # type: ignore[type-var]
            for one in progress:
                status.show(_bar(one.done_bytes, one.total_bytes))
        services.models.offer(options.name)
        model = services.models.get(options.name)
        return Outcome(
            {
                "name": options.name,
                "sha256": model.identity,
                "size_bytes": one.total_bytes,
                "context_tokens": model.profile.context_tokens,
            }
        )


def _bar(done: int, total: int, width: int = 30) -> str:
    filled = width * done // max(1, total)
    drawn = f"{'█' * filled}{'░' * (width - filled)}"
    return f"{drawn} {done / 1e6:.1f} of {total / 1e6:.1f} MB ({100 * done // max(1, total)} %)"


def run_doctor(options: argparse.Namespace, output: TextIO | None) -> Outcome:
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
    with StatusLine() as status:
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
