"""The pictures of a run: learning curves, alarms, and its way through the plane of alignment and uniformity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dipole.report.drawing import BLUE, GREEN, GREY, RED, VIOLET, Picture, scatter, smooth, words


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


def _loss(training: Mapping[str, Any]) -> Picture:
    steps, values = training["curves"]["loss"]
    light = {"color": "rgba(37,99,235,0.3)", "width": 1}
    data = [
        scatter(steps, values, "loss", line=light),
        scatter(steps, smooth(values), "loss, smoothed", line={"color": BLUE, "width": 2.5}),
    ]
    if "log_candidates" in training["curves"]:
        at, level = training["curves"]["log_candidates"]
        data.append(scatter(at, level, "log N: guessing", line={"color": GREY, "dash": "dash"}))
    if training["alarms"]:
        at_step = dict(zip(steps, smooth(values), strict=True))
        marks = [(a["step"], at_step[a["step"]], words(a["text"], 160)) for a in training["alarms"] if a["step"] in at_step]
        symbol = {"color": RED, "size": 11, "symbol": "triangle-down"}
        data.append(
            scatter(
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
    data = [scatter(steps, values, "effective rank", mode="lines+markers", line={"color": GREEN, "width": 2.5}, marker={"size": 4})]
    if "rank_limit" in training["curves"]:
        at, limit = training["curves"]["rank_limit"]
        data.append(scatter(at, limit, "possible", line={"color": GREY, "dash": "dash"}))
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
        scatter(
            x,
            y,
            "way",
            mode="lines+markers",
            line={"color": "rgba(37,99,235,0.35)"},
            marker=colours,
            text=[f"step {int(s)}" for s in steps],
            hovertemplate="%{text}<br>uniformity %{x:.3f}<br>alignment %{y:.3f}<extra></extra>",
        ),
        scatter(
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
    data = [scatter(*series, title, line={"color": VIOLET, "width": 1.8})]
    return Picture(name.replace("_", "-"), title[0].upper() + title[1:], notes[name], data, layout)
