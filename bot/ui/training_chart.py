"""Curves of a training as Vega-Lite: the losses, and the share of unseen phrasings answered.

The specification stays as it is while a training goes on and only its rows grow, so that the
browser moves the lines instead of drawing the chart anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bot.tuning.events import Evaluation, TrainingStep

Row = Mapping[str, float | str]

MOST_STEPS = 600

LEARNT, UNSEEN, EACH_STEP, KEPT = "learnt phrasings", "unseen phrasings", "each step", "kept"
LEARNT_COLOUR, UNSEEN_COLOUR, KEPT_COLOUR = "#f59e0b", "#6366f1", "#10b981"
"""They can be told apart in both themes."""


def loss_rows(steps: Sequence[TrainingStep], evaluations: Iterable[Evaluation]) -> list[Row]:
    """The losses as rows: of each step, and at each evaluation of both kinds of phrasings.

    Of a long training, not every step is drawn: there are fewer pixels.
    """
    drawn = steps[:: 1 + len(steps) // MOST_STEPS]
    rows: list[Row] = [_row(one.step, one.loss, EACH_STEP, one.fold) for one in drawn]
    for one in evaluations:
        rows.append(_row(one.step, one.training_loss, LEARNT, one.fold))
        if one.validation_loss is not None:
            rows.append(_row(one.step, one.validation_loss, UNSEEN, one.fold))
    return rows


def kept_rows(best_step: int, evaluations: Iterable[Evaluation]) -> list[Row]:
    """Where the weights that were kept stand among the losses; empty when that is not known."""
    losses = [
        one.training_loss if one.validation_loss is None else one.validation_loss
        for one in evaluations
        if one.fold == 0 and one.step == best_step
    ]
    return [_row(best_step, loss, KEPT, 0) for loss in losses[-1:]]


def share_rows(evaluations: Iterable[Evaluation]) -> list[Row]:
    """The share, 0 to 1, of the unseen phrasings that are answered, at each evaluation."""
    asked = [one for one in evaluations if one.asked]
    return [_row(one.step, one.correct / one.asked, UNSEEN, one.fold) for one in asked]


def loss_chart(steps: int) -> dict[str, Any]:
    """The chart of `loss_rows` and `kept_rows`.

    Args:
        steps: how many there will be: the axis is as long from the beginning.
    """
    each_step = {
        "mark": {"type": "line", "strokeWidth": 1, "color": LEARNT_COLOUR, "opacity": 0.4},
        "transform": [{"filter": {"field": "kind", "equal": EACH_STEP}}],
        "encoding": {"detail": {"field": "fold"}},
    }
    measured = {
        "mark": _LINE,
        "transform": [{"filter": {"field": "kind", "oneOf": [LEARNT, UNSEEN]}}],
        "encoding": {
            "color": _BY_KIND,
            "detail": {"field": "fold"},
            "opacity": _FADED_FOLDS,
            "tooltip": _tooltip("loss", ".3f"),
        },
    }
    loss = {"title": None, "scale": {"type": "sqrt"}}
    return _chart("Loss", [each_step, measured, *_kept_mark()], steps, loss)


def share_chart(steps: int) -> dict[str, Any]:
    """The chart of `share_rows`; `steps` as in `loss_chart`."""
    measured = {
        "mark": _LINE | {"color": UNSEEN_COLOUR, "point": _POINT | {"color": UNSEEN_COLOUR}},
        "encoding": {
            "detail": {"field": "fold"},
            "opacity": _FADED_FOLDS,
            "tooltip": _tooltip("answered", ".0%"),
        },
    }
    ticks = {"format": "%", "values": [0, 0.25, 0.5, 0.75, 1]}
    answered = {"title": None, "scale": {"domain": [0, 1]}, "axis": ticks}
    return _chart("Unseen phrasings answered", [measured], steps, answered)


_POINT = {"size": 22}
_LINE = {"type": "line", "interpolate": "monotone", "strokeWidth": 2.5, "point": _POINT}
_BY_KIND = {
    "field": "kind",
    "type": "nominal",
    "title": None,
    "scale": {"domain": [LEARNT, UNSEEN], "range": [LEARNT_COLOUR, UNSEEN_COLOUR]},
    "legend": {"orient": "top-right", "offset": 2},
}
_FADED_FOLDS = {"condition": {"test": {"field": "fold", "equal": 0}, "value": 1}, "value": 0.35}
"""The trainings of a cross-validation are quieter than the one that is kept."""


def _kept_mark() -> list[dict[str, Any]]:
    """A line across the chart, and its name."""
    here = {"transform": [{"filter": {"field": "kind", "equal": KEPT}}], "encoding": {"y": None}}
    line = {"type": "rule", "strokeDash": [4, 4], "color": KEPT_COLOUR, "strokeWidth": 1.5}
    name = {"type": "text", "text": KEPT, "align": "right", "dx": -6, "dy": -8, "y": "height"}
    return [
        {"mark": line, **here},
        {"mark": {**name, "color": KEPT_COLOUR, "fontWeight": 600}, **here},
    ]


def _row(step: int, value: float, kind: str, fold: int) -> Row:
    return {"step": step, "value": value, "kind": kind, "fold": fold}


def _chart(
    title: str, layers: list[dict[str, Any]], steps: int, y: dict[str, Any]
) -> dict[str, Any]:
    axis = {"grid": False, "tickMinStep": 1, "labelFlush": True, "tickCount": 6}
    scale = {"domain": [0, max(1, steps)], "nice": False}
    return {
        "background": "transparent",
        "title": {"text": title, "anchor": "start", "fontSize": 13, "offset": 12},
        "encoding": {
            "x": {
                "field": "step",
                "type": "quantitative",
                "title": None,
                "axis": axis,
                "scale": scale,
            },
            "y": {"field": "value", "type": "quantitative", **y},
        },
        "layer": layers,
    }


def _tooltip(title: str, number: str) -> list[dict[str, Any]]:
    return [
        {"field": "kind", "title": "of"},
        {"field": "step", "title": "step"},
        {"field": "value", "title": title, "format": number},
    ]
