"""The small run of a recipe: seconds on a CPU, and what it must show.

    [small]
    with    = { rows = ..., encoder = ..., step = ... }    parts that make it small
    test    = { use = "toy.sentences", ... }                rows it is measured on, never trained on
    against = { losses = [{ use = "infonce" }] }            optional: a baseline, the same run with these parts
    seeds   = [1, 2, 3]                                     the promise holds for every one of them; one seed, 42, unless said
    expect  = { metric = "recall@1", rises_by = 0.2 }

``rises_by`` / ``falls_by`` compare with before training, ``beats_by`` (higher is better) / ``below_by`` with the baseline
after training, ``at_least`` / ``at_most`` bound the value after training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dipole.assembly.build import build
from dipole.assembly.discover import find
from dipole.assembly.metrics import METRICS, Seen
from dipole.assembly.spec import Spec
from dipole.core.errors import UnknownNameError, UsageError
from dipole.core.protocols import Row
from dipole.train.run import train

SHOWN = ("falls_by", "rises_by", "at_least", "at_most", "beats_by", "below_by")


@dataclass(frozen=True)
class Measured:
    """The metric of one seed: before training, after it, and of the baseline after it (None without one)."""

    before: float
    after: float
    baseline: float | None = None


def small(spec: Spec) -> Spec:
    """The recipe with its small run's parts in place."""
    return spec.changed(spec.small.get("with", {}), f"{spec.path}: [small] with")


def run_small(spec: Spec, folder: Path, seed: int = 42) -> Measured:
    """Train the small run, and its baseline where there is one, and measure what the recipe promises."""
    metric = spec.small["expect"]["metric"]
    ready = small(spec)
    before, after = _trained(ready, folder / "run", seed, metric)
    if "against" not in spec.small:
        return Measured(before, after)
    other = ready.changed(spec.small["against"], f"{spec.path}: [small] against")
    return Measured(before, after, _trained(other, folder / "against", seed, metric)[1])


def seeds(spec: Spec) -> list[int]:
    """The seeds for which a recipe makes its promise."""
    return list(spec.small.get("seeds", [42]))


def shows(measured: Measured, expect: Mapping[str, Any]) -> bool:
    """Whether a small run shows what its recipe promises."""
    wants = {k: v for k, v in expect.items() if k != "metric"}
    for name in wants:
        if name not in SHOWN:
            raise UnknownNameError("expectation", name, SHOWN, "[small] expect")
    if measured.baseline is None and {"beats_by", "below_by"} & set(wants):
        raise UsageError("[small] expect: beats_by and below_by need a baseline; add against = { ... }")
    before, after, other = measured.before, measured.after, measured.baseline or 0.0
    margins = {
        "falls_by": before - after,
        "rises_by": after - before,
        "at_least": after,
        "beats_by": after - other,
        "below_by": other - after,
    }
    return bool(wants) and all(after <= v if name == "at_most" else margins[name] >= v for name, v in wants.items())


def _trained(spec: Spec, folder: Path, seed: int, metric: str) -> tuple[float, float]:
    """The metric before and after a run."""
    if metric not in METRICS:
        raise UnknownNameError("metric", metric, METRICS, f"{spec.path}: [small] expect")
    recipe = build(spec.changed({"step": {"seed": seed, "save_steps": 0}}, "small run"))
    given = dict(spec.small["test"])
    rows: Sequence[Row] = list(find("rows", given.pop("use")).load()(**given))
    before = METRICS[metric](Seen(recipe.encoder, rows))
    train(recipe, folder, show=False)
    return before, METRICS[metric](Seen(recipe.encoder, rows))
