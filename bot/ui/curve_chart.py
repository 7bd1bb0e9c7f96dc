"""The learning curve as Vega-Lite: what an adapter gets right, beside what needs no training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bot.evidence.curve import RIVALS, Curve, wilson

Row = Mapping[str, float | str]

ADAPTER = "Adapter"
COLOURS = {ADAPTER: "#0ea5e9", RIVALS["rag"]: "#10b981", RIVALS["few-shot"]: "#d97706"}
"""They can be told apart in both themes."""


def rows(curve: Curve) -> list[Row]:
    """The adapter's points, and each rival from one end of the axis to the other; shares 0 to 1
    with their 95 % intervals."""
    ends = (0, max(curve.sizes, default=0))
    found = [_row(ADAPTER, one.examples, one.right, curve.asked) for one in curve.points]
    for name, right in curve.rivals.items():
        found += [_row(RIVALS.get(name, name), end, right, curve.asked) for end in ends]
    return found


def chart(curve: Curve) -> dict[str, Any]:
    """The chart of `rows`; it stays the same while the curve grows."""
    ticks = {"format": "%", "values": [0, 0.25, 0.5, 0.75, 1]}
    x = {"grid": False, "values": [0, *curve.sizes], "labelFlush": True}
    adapter_only = [{"filter": {"field": "kind", "equal": ADAPTER}}]
    return {
        "background": "transparent",
        "encoding": {
            "x": {
                "field": "examples",
                "type": "quantitative",
                "title": "examples learnt",
                "axis": x,
                "scale": {"domain": [0, max(curve.sizes, default=1)], "nice": False},
            },
            "y": {
                "field": "share",
                "type": "quantitative",
                "title": None,
                "scale": {"domain": [0, 1]},
                "axis": ticks,
            },
            "color": {
                "field": "kind",
                "type": "nominal",
                "title": None,
                "scale": {"domain": list(COLOURS), "range": list(COLOURS.values())},
                "legend": {
                    "orient": "top",
                    "offset": 4,
                    "symbolOpacity": 1,
                    "symbolType": "circle",
                },
            },
        },
        "layer": [
            {
                "mark": {"type": "area", "opacity": 0.13},
                "encoding": {"y": {"field": "low"}, "y2": {"field": "high"}},
            },
            {
                "mark": {"type": "line", "strokeWidth": 2},
                "encoding": {
                    "strokeDash": {
                        "condition": {"test": {"field": "kind", "equal": ADAPTER}, "value": [1, 0]},
                        "value": [6, 4],
                    }
                },
            },
            {
                "mark": {"type": "rule", "strokeWidth": 1.5},
                "transform": adapter_only,
                "encoding": {"y": {"field": "low"}, "y2": {"field": "high"}},
            },
            {
                "mark": {"type": "point", "filled": True, "size": 80, "opacity": 1},
                "transform": adapter_only,
                "encoding": {
                    "tooltip": [
                        {"field": "examples", "title": "examples"},
                        {"field": "share", "title": "right", "format": ".0%"},
                        {"field": "low", "title": "at least", "format": ".0%"},
                        {"field": "high", "title": "at most", "format": ".0%"},
                    ]
                },
            },
        ],
    }


def _row(kind: str, examples: int, right: int, asked: int) -> Row:
    low, high = wilson(right, asked)
    share = right / asked if asked else 0.0
    return {"kind": kind, "examples": examples, "share": share, "low": low, "high": high}
