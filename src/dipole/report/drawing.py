"""What pictures are made of: Plotly's plain data, the colours, and items' texts made safe to show."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

BLUE, ORANGE, GREEN, GREY, RED, VIOLET = "#2563eb", "#e07b00", "#0f9d6b", "#8a94a6", "#d33a2c", "#7c4dff"
_SHOWN = 90  # characters of an item under the pointer


@dataclass(frozen=True)
class Picture:
    """``key`` an id, unique on the page · ``title`` · ``note`` how to read it · ``data`` and ``layout`` as Plotly takes them · ``wide``
    whether it takes the whole width."""

    key: str
    title: str
    note: str
    data: Sequence[Mapping[str, Any]]
    layout: Mapping[str, Any]
    wide: bool = False


def scatter(x: Sequence[Any], y: Sequence[Any], name: str, mode: str = "lines", **more: Any) -> dict[str, Any]:
    """A line or points."""
    return {"type": "scatter", "mode": mode, "x": list(x), "y": list(y), "name": name, **more}


def dots(points: torch.Tensor, texts: Sequence[str], name: str, colour: str, symbol: str = "circle") -> dict[str, Any]:
    """Points with a text each under the pointer."""
    marker = {"color": colour, "size": 6, "opacity": 0.75, "symbol": symbol, "line": {"width": 0.5, "color": "white"}}
    x, y = points[:, 0].tolist(), points[:, 1].tolist()
    return scatter(x, y, name, mode="markers", marker=marker, text=list(texts), hovertemplate="%{text}<extra></extra>")


def bars(x: Sequence[float], y: Sequence[float], name: str, colour: str, opacity: float = 0.62) -> dict[str, Any]:
    """Bars that others can be seen through."""
    return {"type": "bar", "x": list(x), "y": list(y), "name": name, "marker": {"color": colour, "opacity": opacity, "line": {"width": 0}}}


def bare() -> dict[str, Any]:
    """An axis without numbers."""
    return {"showticklabels": False, "zeroline": False, "ticks": ""}


def shares(counts: Sequence[int]) -> list[float]:
    """Counts as shares of their sum."""
    total = max(1, sum(counts))
    return [count / total for count in counts]


def smooth(values: Sequence[float]) -> list[float]:
    """A running mean over a twentieth of the run."""
    half = max(1, len(values) // 40)
    return [sum(part) / len(part) for i in range(len(values)) if (part := values[max(0, i - half) : i + half + 1])]


def words(item: Any, limit: int = _SHOWN) -> str:
    """An item in a line that no markup can leave."""
    text = " ".join(item.split()) if isinstance(item, str) else f"{type(item).__name__} {tuple(getattr(item, 'shape', ()))}"
    return html.escape(text if len(text) <= limit else text[: limit - 1] + "…")
