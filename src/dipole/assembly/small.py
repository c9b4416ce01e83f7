"""The small run of a recipe: seconds on a CPU, and what it must show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from dipole.assembly.build import build
from dipole.assembly.discover import find
from dipole.assembly.spec import Spec
from dipole.core.errors import UnknownNameError
from dipole.core.protocols import Row
from dipole.train.run import train

SHOWN = {"falls_by": "at least this much lower", "rises_by": "at least this much higher", "at_least": "after", "at_most": "after"}


def uniformity(anchors: torch.Tensor, positives: torch.Tensor) -> float:
    """Log mean exp(-2 |x - y|^2) over different anchors; lower is more spread (arXiv:2005.10242)."""
    squared = torch.pdist(anchors.double()).square()
    return float((-2 * squared).exp().mean().log())


def alignment(anchors: torch.Tensor, positives: torch.Tensor) -> float:
    """Mean squared distance of positives."""
    return float((anchors - positives).double().square().sum(1).mean())


def recall_at_1(anchors: torch.Tensor, positives: torch.Tensor) -> float:
    """Share of anchors whose own positive scores highest."""
    found = (anchors @ positives.T).argmax(1)
    return float((found == torch.arange(len(anchors))).double().mean())


METRICS = {"uniformity": uniformity, "alignment": alignment, "recall@1": recall_at_1}


def small(spec: Spec) -> Spec:
    """The recipe with its small run's parts in place."""
    return spec.changed(spec.small.get("with", {}), f"{spec.path}: [small] with")


def run_small(spec: Spec, folder: Path, seed: int = 42) -> dict[str, tuple[float, float]]:
    """Train the small run; every metric before and after, on the rows of ``[small] test``."""
    ready = small(spec)
    recipe = build(ready.changed({"step": {"seed": seed, "save_steps": 0}}, "small run"))
    given = dict(spec.small["test"])
    rows: Sequence[Row] = list(find("rows", given.pop("use")).load()(**given))
    before = _measured(recipe.encoder, rows)
    train(recipe, folder, show=False)
    after = _measured(recipe.encoder, rows)
    return {name: (before[name], after[name]) for name in METRICS}


def shows(measured: Mapping[str, tuple[float, float]], expect: Mapping[str, Any]) -> bool:
    """Whether a small run shows what its recipe promises."""
    metric = expect["metric"]
    if metric not in METRICS:
        raise UnknownNameError("metric", metric, METRICS, "[small] expect")
    before, after = measured[metric]
    wants = {k: v for k, v in expect.items() if k != "metric"}
    for name in wants:
        if name not in SHOWN:
            raise UnknownNameError("expectation", name, SHOWN, "[small] expect")
    margins = {"falls_by": before - after, "rises_by": after - before, "at_least": after}
    return bool(wants) and all(after <= v if name == "at_most" else margins[name] >= v for name, v in wants.items())


def _measured(encoder: Any, rows: Sequence[Row]) -> dict[str, float]:
    anchors, positives = (encoder.encode([row[role] for row in rows]) for role in ("anchor", "positive"))
    return {name: metric(anchors, positives) for name, metric in METRICS.items()}
