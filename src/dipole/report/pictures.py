"""The pictures of vectors: their map, cosines, spectrum, hubs, and what temperatures would do, each with how to read it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from dipole.diagnostics import isotropic_spectrum
from dipole.report.bounds import BOUNDS
from dipole.report.drawing import BLUE, GREEN, GREY, ORANGE, RED, VIOLET, Picture, bare, bars, dots, scatter, shares, words
from dipole.report.inputs import Vectors
from dipole.report.maps import flat
from dipole.report.measure import NEIGHBOURS, Drawn

CLASSES = (BLUE, ORANGE, GREEN, VIOLET, RED, "#00a3bf", "#b8860b", "#c2408c", "#5b7083", "#6b8e23")
MAP_POINTS = 1500


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


def _map(seen: Vectors, drawn: Drawn, how: str, seed: int) -> Picture:
    items, unique = seen.items, drawn.unique[:MAP_POINTS]
    places = [] if seen.positives is None else unique.tolist()
    unit = torch.nn.functional.normalize(
        torch.cat([seen.anchors[unique], *([] if seen.positives is None else [seen.positives[unique]])]).float(), dim=1
    )
    points, axes = flat(unit, how, seed)
    anchors = [words(item) for item in seen.of(items.anchors)]
    labels = None if items.labels is None else (items.labels if seen.kept is None else items.labels[seen.kept])[unique]
    data: list[dict[str, Any]] = []
    if places:
        lines: list[tuple[float | None, float | None]] = []
        for i in range(min(len(unique), 300)):
            lines += [tuple(points[i].tolist()), tuple(points[len(unique) + i].tolist()), (None, None)]
        line = {"color": "rgba(138,148,166,0.35)", "width": 1}
        data.append(scatter([x for x, _ in lines], [y for _, y in lines], "pairs (300 at most)", mode="lines", line=line, hoverinfo="skip"))
    own = points[: len(unique)]
    shown = [anchors[i] for i in unique.tolist()]
    if labels is not None:
        for place, label in enumerate(labels.unique().tolist()[: len(CLASSES)]):
            chosen = (labels == label).nonzero().flatten().tolist()
            data.append(dots(own[chosen], [shown[i] for i in chosen], words(items.classes[label], 24), CLASSES[place]))
        others = [i for i, label in enumerate(labels.tolist()) if label not in labels.unique().tolist()[: len(CLASSES)]]
        if others:
            data.append(dots(own[others], [shown[i] for i in others], "other classes", GREY))
    else:
        data.append(dots(own, shown, "anchors" if places else "items", BLUE))
    if places:
        texts = [words(item) for item in seen.of(items.positives)]
        data.append(dots(points[len(unique) :], [texts[i] for i in unique.tolist()], "positives", ORANGE, symbol="diamond"))
    note = f"Each point is an item ({axes}). Near points are similar; the picture is stretched to fit, so distances are for the verdicts."
    return Picture(
        "map", "Map of the vectors", note, data, {"xaxis": bare(), "yaxis": {**bare(), "scaleanchor": "x"}, "height": 520}, wide=True
    )


def _similarities(values: Mapping[str, Any], drawn: Drawn) -> Picture:
    held = drawn.similarities
    middle = [(a + b) / 2 for a, b in itertools.pairwise(held.edges)]
    data = [
        bars(middle, shares(held.random), "strangers", GREY),
        bars(middle, shares(held.matched), "pairs", BLUE),
    ]
    if drawn.given:
        data.append(bars(middle, shares(drawn.given), "given negatives", RED))
    overlap, confused = values["pairs"]["overlap"], values["pairs"]["confused"]
    parted = {"healthy": "one threshold tells most pairs from strangers", "watch": "one threshold tells many of them apart"}
    told = parted.get(BOUNDS["overlap"].status(overlap), "no threshold tells them apart")
    note = f"The humps overlap by {overlap:.0%}: {told}. For {confused:.0%} of queries some stranger scores above the positive."
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
        scatter(places, even.tolist(), "evenly spread vectors", line={"color": GREY, "dash": "dot"}),
        scatter(
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
        bars(places, seen.tolist(), "these items", BLUE, opacity=0.75),
        scatter(places, chance, "by chance", line={"color": ORANGE, "width": 2}),
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
        scatter(x, [row["negatives"] for row in rows], "negatives that push", mode="lines+markers", line={"color": BLUE, "width": 2.5}),
        scatter(x, [row["hardest"] for row in rows], "share of the hardest one", mode="lines+markers", line={"color": ORANGE}, yaxis="y2"),
        scatter(x, [row["pull"] for row in rows], "pull left on the positive", mode="lines+markers", line={"color": GREEN}, yaxis="y2"),
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
        bars(middle, share["negatives"], "negatives", GREY),
        bars(middle, share["gradient"], "gradient they give", ORANGE),
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
