"""The documents of the command line, shown to a person in a terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, TextIO

from bot.logs import one_line, printable

Document = dict[str, Any]


class StatusLine:
    """One line on a terminal's standard error that is written over; silent where there is none."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()

    def __enter__(self) -> StatusLine:
        return self

    def __exit__(self, *_: object) -> None:
        self._clear()

    def show(self, text: str) -> None:
        if self._shown:
            sys.stderr.write(f"\r\x1b[K{one_line(text)[:100]}")
            sys.stderr.flush()

    def keep(self, text: str) -> None:
        self._clear()
        print(one_line(text), file=sys.stderr)

    def _clear(self) -> None:
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def show_nothing(document: Document, output: TextIO) -> None:
    """Each answer was shown when it was finished."""


def show_version(document: Document, output: TextIO) -> None:
    print(f"Triptych {document['version']}", file=output)


def show_answer(answer: Document, output: TextIO) -> None:
    adapter = f" + {one_line(answer['adapter'])}" if answer["adapter"] else ""
    print(f"\n── {answer['strategy']} · {one_line(answer['model'])}{adapter} ──", file=output)
    if answer["text"]:
        print(printable(answer["text"]), file=output)
    if answer["error"]:
        print(f"Failed: {one_line(answer['error'])}", file=output)
    for one in answer["evidence"]:
        print(f"  “{one_line(one['quote'])}” — {one_line(one['document'])}", file=output)
    if answer["status"] == "complete":
        first = answer["first_token_seconds"]
        reached = "" if first is None else f"first token {first:.2f} s, "
        print(
            f"  {reached}{answer['total_seconds']:.2f} s, {answer['prompt_tokens']} prompt + "
            f"{answer['answer_tokens']} answer tokens{_cost(answer['cost_dollars'])}",
            file=output,
        )
    output.flush()


def _cost(dollars: float | None) -> str:
    """What an answer cost; nothing for one that was free or whose price is unknown."""
    return f", ${dollars:.6f}" if dollars else ""


def show_ingested(document: Document, output: TextIO) -> None:
    _show_table(
        ("document", "status", "passages", ""),
        [
            (one["name"], one["status"], str(one["passages"]), one["error"] or "")
            for one in document["documents"]
        ],
        output,
    )


def show_found(document: Document, output: TextIO) -> None:
    if not document["passages"]:
        print("Nothing was found.", file=output)
    for one in document["passages"]:
        print(
            f"{one['score']:.3f}  (dense {one['dense_score']:.3f}, keyword "
            f"{one['keyword_score']:.3f})  {one_line(one['document'])} — "
            f"{one_line(one['heading'])}\n       “{one_line(one['quote'])}”",
            file=output,
        )


def show_documents(document: Document, output: TextIO) -> None:
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


def show_forgotten(document: Document, output: TextIO) -> None:
    print(f"{one_line(document['name'])} is forgotten.", file=output)


def training_progress(training: Document) -> str:
    """Where a training is, in a line."""
    if training["state"] == "queued":
        return f"waiting for {training['place']} before it"
    if training["state"] == "checking":
        return "checking that what is served is what was trained"
    if not (step := training["last_step"]):
        return "reading the model"
    fold = f"fold {step['fold']}  " if step["fold"] else ""
    shown = f"{fold}step {step['step']} of {step['steps']}  loss {step['loss']:.3f}"
    measured = training["last_evaluation"]
    if measured and measured["asked"]:
        shown += f"  correct {measured['correct']} of {measured['asked']}"
    speed, left = step["tokens_per_second"], step["seconds_left"]
    return f"{shown}  {speed:.0f} tokens/s  {left:.0f} s left"


def show_trained(document: Document, output: TextIO) -> None:
    if "curve" in document:
        _show_curve(document["curve"], document["verdict"], output)
        return
    made, report = document["adapter"], document["report"]
    if made:
        loss = "" if document["loss"] is None else f", loss {document['loss']:.3f}"
        how = "is trained" if document["state"] == "done" else "is what was learnt until then"
        print(
            f"{one_line(document['name'])} {how}: {document['steps']} steps{loss}, "
            f"{made['size_bytes'] / 1e6:.1f} MB.",
            file=output,
        )
    else:
        print(f"The training {document['id']} is {document['state']}: no adapter.", file=output)
    if report:
        print(_report(report), file=output)
    if document["not_offered"]:
        print(f"It does not answer yet: {one_line(document['not_offered'])}", file=output)
    if document["error"]:
        print(one_line(document["error"]), file=output)
    if document["resumable"]:
        print(f"python -m bot train --resume {document['id']}", file=output)


def _show_curve(curve: Document, verdict: str, output: TextIO) -> None:
    rows = [(f"{name}", right) for name, right in curve["rivals"].items()]
    rows += [(f"{one['examples']} examples", one["right"]) for one in curve["points"]]
    for what, right in rows:
        share = 100 * right / curve["asked"]
        print(f"{what:>16}  {right:>3} of {curve['asked']}  {share:3.0f} %", file=output)
    if verdict:
        print(one_line(verdict), file=output)
    if curve["state"] != "done":
        print(f"The curve is {curve['state']}. {one_line(curve['error'])}".strip(), file=output)


def _report(report: Document) -> str:
    unseen = ""
    if report["unseen_asked"]:
        unseen = f", of unseen phrasings {report['unseen_correct']} of {report['unseen_asked']}"
    forgot = 1 - report["unrelated_after"] / max(report["unrelated_before"], 1e-9)
    return (
        f"Correct, of what was learnt: {report['trained_correct']} of {report['trained_asked']}"
        f"{unseen}. Forgotten of what it said about other things: {max(forgot, 0):.0%}."
    )


def show_trainings(document: Document, output: TextIO) -> None:
    _show_table(
        ("training", "adapter", "state", "steps", "begun", ""),
        [
            (
                one["id"],
                one["name"],
                f"queued ({one['place']} before)" if one["state"] == "queued" else one["state"],
                str(one["steps"]),
                one["created_at"],
                one["error"] or "",
            )
            for one in document["trainings"]
        ],
        output,
    )


def show_adapters(document: Document, output: TextIO) -> None:
    rows = [
        (
            one["name"],
            f"{one['size_bytes'] / 1e6:.1f}",
            one["created_at"],
            one["state"],
            one["reason"] or "",
        )
        for one in document["adapters"]
    ]
    rows += [(one["name"], "", "", "damaged", one["error"]) for one in document["broken"]]
    _show_table(("adapter", "megabytes", "made", "", ""), rows, output)


def show_exported(document: Document, output: TextIO) -> None:
    megabytes = document["size_bytes"] / 1e6
    print(f"{one_line(document['path'])} is written: {megabytes:.1f} MB.", file=output)


def show_checked(document: Document, output: TextIO) -> None:
    name = one_line(document["name"])
    if not document["passed"]:
        print(f"{name} does not answer: {one_line(document['reason'])}", file=output)
        return
    print(
        f"{name} is served as it was trained: {document['answers_equal']} of "
        f"{document['answers']} answers are PEFT's to the last token; log-probabilities differ by "
        f"{document['mean_logprob_difference']:.3f} nats (at most {document['tolerance']:g}), "
        f"merged with the base by {document['merged_mean_logprob_difference']:.4f} (at most "
        f"{document['merged_tolerance']:g}).",
        file=output,
    )


def show_deleted(document: Document, output: TextIO) -> None:
    print(f"{one_line(document['name'])} is deleted.", file=output)


def show_models(document: Document, output: TextIO) -> None:
    _show_table(
        ("model", "", "context", "seconds", ""),
        [
            (
                f"{one['name']} (main)" if one["main"] else one["name"],
                "answers" if one["reachable"] else "FAILED",
                str(one["context_tokens"] or ""),
                f"{one['seconds']:.1f}",
                one["detail"],
            )
            for one in document["models"]
        ],
        output,
    )


def show_fetched(document: Document, output: TextIO) -> None:
    print(
        f"{document['name']} is here: {document['size_bytes'] / 1e6:.1f} MB, "
        f"SHA-256 {document['sha256']}, context {document['context_tokens']} tokens.",
        file=output,
    )


def show_doctor(document: Document, output: TextIO) -> None:
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
        print(f"{mark}  {proof['name']}: {one_line(proof['detail'])}", file=output)
    print("All is well." if document["ok"] else "Something is wrong: see above.", file=output)


def _show_table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]], output: TextIO) -> None:
    if not rows:
        print("There is none.", file=output)
        return
    table = [head, *(tuple(one_line(cell) for cell in row) for row in rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(head))]
    for row in table:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip(), file=output)
