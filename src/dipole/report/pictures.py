"""The pictures of a report as plain Plotly data: what is drawn, how it is labelled, and a sentence on how to read it."""

from __future__ import annotations

import html
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from dipole.diagnostics import isotropic_spectrum
from dipole.report.inputs import Vectors
from dipole.report.maps import flat
from dipole.report.measure import NEIGHBOURS, Drawn

BLUE, ORANGE, GREEN, GREY, RED, VIOLET = "#2563eb", "#e07b00", "#0f9d6b", "#8a94a6", "#d33a2c", "#7c4dff"
CLASSES = (BLUE, ORANGE, GREEN, VIOLET, RED, "#00a3bf", "#b8860b", "#c2408c", "#5b7083", "#6b8e23")
MAP_POINTS = 1500
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


def of_vectors(values: Mapping[str, Any], drawn: Drawn, seen: Vectors, how: str = "pca", seed: int = 0) -> list[Picture]:
    """The pictures of one model on one set of rows."""
    found = [_map(seen, drawn, how, seed)]
    if drawn.similarities is not None:
        found.append(_similarities(values, drawn))
    found.append(_spectrum(values, drawn))
    if drawn.occurrences is not None:
        found.append(_hubs(drawn))
    if values["pairs"] is not None and values["pairs"]["temperatures"]:
        found.append(_temperatures(values["pairs"]["temperatures"]))
    if values["pairs"] is not None and values["pairs"].get("gradient_share"):
        found.append(_gradient(values["pairs"]["gradient_share"]))
    return found


def of_training(training: Mapping[str, Any]) -> list[Picture]:
    """The learning curves of a run, and its way through the plane."""
    curves, found = training["curves"], []
    if "loss" in curves:
        found.append(_loss(training))
    if "effective_rank" in curves:
        found.append(_rank(training))
    if len(training["plane"]) > 1:
        found.append(_plane(training["plane"], training["plane_from"]))
    rest = [("grad_norm", "gradient norm", "log"), ("mean_cosine", "mean cosine", "linear"), ("learning_rate", "learning rate", "linear")]
    rest += [("temperature", "temperature", "linear")]
    for name, title, scale in rest:
        if name in curves:
            found.append(_curve(name, title, scale, curves[name]))
    return found


def _map(seen: Vectors, drawn: Drawn, how: str, seed: int) -> Picture:
    items, unique = seen.items, drawn.unique[:MAP_POINTS]
    places = [] if seen.positives is None else unique.tolist()
    unit = torch.nn.functional.normalize(
        torch.cat([seen.anchors[unique], *([] if seen.positives is None else [seen.positives[unique]])]).float(), dim=1
    )
    points, axes = flat(unit, how, seed)
    anchors = [_words(item) for item in seen.of(items.anchors)]
    labels = None if items.labels is None else (items.labels if seen.kept is None else items.labels[seen.kept])[unique]
    data: list[dict[str, Any]] = []
    if places:
        lines: list[tuple[float | None, float | None]] = []
        for i in range(min(len(unique), 300)):
            lines += [tuple(points[i].tolist()), tuple(points[len(unique) + i].tolist()), (None, None)]
        line = {"color": "rgba(138,148,166,0.35)", "width": 1}
        data.append(
            _scatter([x for x, _ in lines], [y for _, y in lines], "pairs (300 at most)", mode="lines", line=line, hoverinfo="skip")
        )
    own = points[: len(unique)]
    shown = [anchors[i] for i in unique.tolist()]
    if labels is not None:
        for place, label in enumerate(labels.unique().tolist()[: len(CLASSES)]):
            chosen = (labels == label).nonzero().flatten().tolist()
            data.append(_dots(own[chosen], [shown[i] for i in chosen], _words(items.classes[label], 24), CLASSES[place]))
        others = [i for i, label in enumerate(labels.tolist()) if label not in labels.unique().tolist()[: len(CLASSES)]]
        if others:
            data.append(_dots(own[others], [shown[i] for i in others], "other classes", GREY))
    else:
        data.append(_dots(own, shown, "anchors" if places else "items", BLUE))
    if places:
        texts = [_words(item) for item in seen.of(items.positives)]
        data.append(_dots(points[len(unique) :], [texts[i] for i in unique.tolist()], "positives", ORANGE, symbol="diamond"))
    note = f"Each point is an item ({axes}). Near points are similar; the picture is stretched to fit, so distances are for the verdicts."
    return Picture(
        "map", "Map of the vectors", note, data, {"xaxis": _bare(), "yaxis": {**_bare(), "scaleanchor": "x"}, "height": 520}, wide=True
    )


def _similarities(values: Mapping[str, Any], drawn: Drawn) -> Picture:
    held = drawn.similarities
    middle = [(a + b) / 2 for a, b in itertools.pairwise(held.edges)]
    data = [
        _bars(middle, _shares(held.random), "strangers", GREY),
        _bars(middle, _shares(held.matched), "pairs", BLUE),
    ]
    if drawn.given:
        data.append(_bars(middle, _shares(drawn.given), "given negatives", RED))
    overlap = values["pairs"]["overlap"]
    note = f"Two humps apart: a threshold tells pairs from strangers. They overlap by {overlap:.0%}."
    layout = {
        "barmode": "overlay",
        "bargap": 0,
        "xaxis": {"title": {"text": "cosine"}},
        "yaxis": {"title": {"text": "share"}, "tickformat": ".0%"},
    }
    return Picture("similarities", "Cosines of pairs and of strangers", note, data, layout)


def _spectrum(values: Mapping[str, Any], drawn: Drawn) -> Picture:
    spectrum = (drawn.spectrum / drawn.spectrum[0].clamp(min=1e-300)).clamp(min=1e-8)
    places = list(range(1, len(spectrum) + 1))
    even = isotropic_spectrum(values["vectors"]["different"], values["vectors"]["dimension"])
    even = even * (drawn.spectrum.square().sum() / even.square().sum()).sqrt() / drawn.spectrum[0].clamp(min=1e-300)
    data = [
        _scatter(places, even.tolist(), "evenly spread vectors", line={"color": GREY, "dash": "dot"}),
        _scatter(
            places, spectrum.tolist(), "these vectors", line={"color": BLUE, "width": 2.5}, fill="tozeroy", fillcolor="rgba(37,99,235,0.08)"
        ),
    ]
    rank = values["effective_rank"]
    note = "How much each direction carries. " + (
        ""
        if rank is None
        else f"Effective rank {rank:.0f} of {values['vectors']['isotropic_rank']:.0f}; a cliff near the left is dimensional collapse."
    )
    low = max(1e-4, float(spectrum.min()) / 2)
    layout = {
        "xaxis": {"title": {"text": "direction"}},
        "yaxis": {"title": {"text": "singular value, the first is 1"}, "type": "log", "range": [math.log10(low), 0.1], "dtick": 1},
    }
    return Picture("spectrum", "Singular spectrum", note, data, layout)


def _hubs(drawn: Drawn) -> Picture:
    assert drawn.occurrences is not None
    counts = drawn.occurrences
    most = min(int(counts.max()), 6 * NEIGHBOURS)
    seen = torch.bincount(counts.clamp(max=most), minlength=most + 1).double() / len(counts)
    places = list(range(most + 1))
    chance = [math.exp(k * math.log(NEIGHBOURS) - NEIGHBOURS - math.lgamma(k + 1)) for k in places]
    data = [
        _bars(places, seen.tolist(), "these items", BLUE, opacity=0.75),
        _scatter(places, chance, "by chance", line={"color": ORANGE, "width": 2}),
    ]
    note = (
        "How often an item is among others' ten nearest. A tail to the right: hubs, found for everything. A pillar at 0: items nobody "
        "finds."
    )
    layout = {
        "bargap": 0.05,
        "xaxis": {"title": {"text": "occurrences"}},
        "yaxis": {"title": {"text": "share of items"}, "tickformat": ".0%"},
    }
    return Picture("hubs", "Hubs and anti-hubs", note, data, layout)


def _temperatures(rows: Sequence[Mapping[str, float]]) -> Picture:
    x = [row["temperature"] for row in rows]
    data = [
        _scatter(x, [row["negatives"] for row in rows], "negatives that push", mode="lines+markers", line={"color": BLUE, "width": 2.5}),
        _scatter(x, [row["hardest"] for row in rows], "share of the hardest one", mode="lines+markers", line={"color": ORANGE}, yaxis="y2"),
        _scatter(x, [row["pull"] for row in rows], "pull left on the positive", mode="lines+markers", line={"color": GREEN}, yaxis="y2"),
    ]
    note = (
        "What InfoNCE's gradient would be at each temperature on these pairs, as a batch. At the left one negative counts, at the right "
        "all alike; where the pull is 0 nothing is left to learn."
    )
    layout = {
        "xaxis": {"title": {"text": "temperature"}, "type": "log", "tickvals": [t for t in x if t != 0.07]},
        "yaxis": {"title": {"text": "negatives, as many as"}, "type": "log", "tickvals": [1, 3, 10, 30, 100, 300], "rangemode": "tozero"},
        "yaxis2": {
            "title": {"text": "share"},
            "overlaying": "y",
            "side": "right",
            "range": [0, 1.04],
            "dtick": 0.25,
            "tickformat": ".0%",
            "showgrid": False,
        },
    }
    return Picture("temperatures", "Temperature", note, data, layout)


def _gradient(share: Mapping[str, Sequence[float]]) -> Picture:
    edges = share["edges"]
    middle = [(a + b) / 2 for a, b in itertools.pairwise(edges)]
    data = [
        _bars(middle, share["negatives"], "negatives", GREY),
        _bars(middle, share["gradient"], "gradient they give", ORANGE),
    ]
    note = (
        "Which negatives teach, at temperature 0.05: few hard ones give most. If all of it comes from the last bins, look for copies and "
        "false negatives there."
    )
    layout = {
        "barmode": "overlay",
        "bargap": 0,
        "xaxis": {"title": {"text": "cosine of the negative"}},
        "yaxis": {"title": {"text": "share"}, "tickformat": ".0%"},
    }
    return Picture("gradient", "Where the gradient comes from", note, data, layout)


def _loss(training: Mapping[str, Any]) -> Picture:
    steps, values = training["curves"]["loss"]
    light = {"color": "rgba(37,99,235,0.3)", "width": 1}
    data = [
        _scatter(steps, values, "loss", line=light),
        _scatter(steps, _smooth(values), "loss, smoothed", line={"color": BLUE, "width": 2.5}),
    ]
    if "log_candidates" in training["curves"]:
        at, level = training["curves"]["log_candidates"]
        data.append(_scatter(at, level, "log N: guessing", line={"color": GREY, "dash": "dash"}))
    if training["alarms"]:
        at_step = dict(zip(steps, _smooth(values), strict=True))
        marks = [(a["step"], at_step[a["step"]], _words(a["text"], 160)) for a in training["alarms"] if a["step"] in at_step]
        symbol = {"color": RED, "size": 11, "symbol": "triangle-down"}
        data.append(
            _scatter(
                [m[0] for m in marks],
                [m[1] for m in marks],
                "alarms",
                mode="markers",
                marker=symbol,
                text=[m[2] for m in marks],
                hovertemplate="step %{x}: %{text}<extra></extra>",
            )
        )
    note = "Below the dashed line the model does better than guessing among its candidates. A loss that stays on it has learned nothing."
    return Picture(
        "loss", "Loss", note, data, {"xaxis": {"title": {"text": "step"}}, "yaxis": {"title": {"text": "nats"}}, "height": 380}, wide=True
    )


def _rank(training: Mapping[str, Any]) -> Picture:
    steps, values = training["curves"]["effective_rank"]
    data = [_scatter(steps, values, "effective rank", mode="lines+markers", line={"color": GREEN, "width": 2.5}, marker={"size": 4})]
    if "rank_limit" in training["curves"]:
        at, limit = training["curves"]["rank_limit"]
        data.append(_scatter(at, limit, "possible", line={"color": GREY, "dash": "dash"}))
    note = (
        "How many directions at most 256 vectors of a batch use. A fall towards 1 is collapse; a slow fall after a peak is usual late in "
        "training."
    )
    layout = {"xaxis": {"title": {"text": "step"}}, "yaxis": {"title": {"text": "directions"}, "rangemode": "tozero"}}
    return Picture("rank", "Effective rank", note, data, layout)


def _plane(points: Sequence[Mapping[str, float]], source: str) -> Picture:
    x, y, steps = ([point[name] for point in points] for name in ("uniformity", "alignment", "step"))
    colours = {
        "color": steps,
        "colorscale": [[0, "#bcd0fb"], [1, "#1e3a8a"]],
        "size": 9,
        "showscale": True,
        "colorbar": {"title": {"text": "step"}, "thickness": 10},
    }
    ends = {"x": [x[0], x[-1]], "y": [y[0], y[-1]]}
    data = [
        _scatter(
            x,
            y,
            "way",
            mode="lines+markers",
            line={"color": "rgba(37,99,235,0.35)"},
            marker=colours,
            text=[f"step {int(s)}" for s in steps],
            hovertemplate="%{text}<br>uniformity %{x:.3f}<br>alignment %{y:.3f}<extra></extra>",
        ),
        _scatter(
            ends["x"],
            ends["y"],
            "first and last",
            mode="markers+text",
            marker={"color": [GREY, RED], "size": 13, "symbol": ["circle-open", "star"]},
            text=["first", "last"],
            textposition="top center",
        ),
    ]
    note = f"Left is spread, down is tight pairs: good training goes to the lower left. From the {source}."
    layout = {"xaxis": {"title": {"text": "uniformity"}}, "yaxis": {"title": {"text": "alignment"}}, "showlegend": False}
    return Picture("plane", "Alignment and uniformity over training", note, data, layout)


def _curve(name: str, title: str, scale: str, series: tuple[list[int], list[float]]) -> Picture:
    layout = {"xaxis": {"title": {"text": "step"}}, "yaxis": {"title": {"text": title}, "type": scale}, "height": 260, "showlegend": False}
    notes = {
        "grad_norm": "Before clipping. Jumps of ten times the usual are spikes.",
        "mean_cosine": "Of two different vectors of a batch; near 1 all point one way.",
        "learning_rate": "As the schedule set it.",
        "temperature": "Learned; towards its bound it stops telling hard from easy.",
    }
    data = [_scatter(*series, title, line={"color": VIOLET, "width": 1.8})]
    return Picture(name.replace("_", "-"), title[0].upper() + title[1:], notes[name], data, layout)


def _scatter(x: Sequence[Any], y: Sequence[Any], name: str, mode: str = "lines", **more: Any) -> dict[str, Any]:
    return {"type": "scatter", "mode": mode, "x": list(x), "y": list(y), "name": name, **more}


def _dots(points: torch.Tensor, texts: Sequence[str], name: str, colour: str, symbol: str = "circle") -> dict[str, Any]:
    marker = {"color": colour, "size": 6, "opacity": 0.75, "symbol": symbol, "line": {"width": 0.5, "color": "white"}}
    x, y = points[:, 0].tolist(), points[:, 1].tolist()
    return _scatter(x, y, name, mode="markers", marker=marker, text=list(texts), hovertemplate="%{text}<extra></extra>")


def _bars(x: Sequence[float], y: Sequence[float], name: str, colour: str, opacity: float = 0.62) -> dict[str, Any]:
    return {"type": "bar", "x": list(x), "y": list(y), "name": name, "marker": {"color": colour, "opacity": opacity, "line": {"width": 0}}}


def _bare() -> dict[str, Any]:
    return {"showticklabels": False, "zeroline": False, "ticks": ""}


def _shares(counts: Sequence[int]) -> list[float]:
    total = max(1, sum(counts))
    return [count / total for count in counts]


def _smooth(values: Sequence[float]) -> list[float]:
    """A running mean over a twentieth of the run."""
    half = max(1, len(values) // 40)
    return [sum(part) / len(part) for i in range(len(values)) if (part := values[max(0, i - half) : i + half + 1])]


def _words(item: Any, limit: int = _SHOWN) -> str:
    """An item in a line that no markup can leave."""
    text = " ".join(item.split()) if isinstance(item, str) else f"{type(item).__name__} {tuple(getattr(item, 'shape', ()))}"
    return html.escape(text if len(text) <= limit else text[: limit - 1] + "…")
