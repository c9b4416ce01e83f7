"""``check``: proves on your own recipe, encoder and data that the clever ways of training give the plain way's gradients.

    cached = plain        gradient caching against keeping every graph, dropout on
    ranks = one           several gloo processes against one, dropout off (its streams belong to a process)
    compiled = eager      the engine's fused tiles against its plain ones
    streamed = dense      the engine's tiles against the whole matrix under ordinary autograd
    resumed = unbroken    training from a checkpoint against training without one, bit for bit

Where a recipe's negatives remember earlier batches, one batch goes before each that is compared, so that they hold something.

A difference is |a - b| / |b| of all gradients taken as one vector. float32 rounding leaves about 1e-7 to 1e-6; the known
mistakes (a gather without gradient, a forgotten 1/W, a random state not restored) leave 1e-2 and more.
"""

from __future__ import annotations

import copy
import itertools
import math
import shutil
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dipole.core.errors import UsageError
from dipole.core.protocols import Batch
from dipole.pairwise import compiled, using
from dipole.train import checkpoint as ckpt
from dipole.train.check_ranks import gradients_by_ranks, shares, together
from dipole.train.objective import Objective
from dipole.train.ranks import objective_of
from dipole.train.recipe import Recipe
from dipole.train.rng import seed_everything
from dipole.train.rows import Joined
from dipole.train.run import train
from dipole.train.step import Tower, backward, encode_with

TOLERANCE = 1e-5
REMEDIES = {
    "cached = plain": "the encoder draws random numbers that are not torch's, NumPy's or Python's, or its output depends on the other "
    "items of a micro batch; fix that, or set step.micro_batch_size = 0",
    "ranks = one": "a part treats gathered vectors as constants or scales by the number of processes; return one value per own row "
    "and leave gathering and averaging to the step",
    "compiled = eager": "use dipole.pairwise.using('eager') for now and report the loss: the compiler changed its result",
    "streamed = dense": "a loss keeps a quantity per row or column outside the engine; hand it in as metadata or a parameter",
    "resumed = unbroken": "a part keeps state that is not in its state_dict; register it as a parameter or buffer",
}


@dataclass(frozen=True)
class Finding:
    """One comparison. ``passed`` None: not run, and ``note`` says why."""

    name: str
    difference: float
    tolerance: float
    passed: bool | None
    note: str = ""
    remedy: str = ""


@dataclass(frozen=True)
class Report:
    """All comparisons of a recipe."""

    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing that ran failed."""
        return all(f.passed is not False for f in self.findings)

    def json(self) -> dict[str, Any]:
        """Plain values."""
        return {"passed": self.passed, "findings": [asdict(f) for f in self.findings]}


def check(recipe: Recipe, *, rows: int = 16, ranks: int = 2, batches: int = 2, steps: int = 4, only: Sequence[str] = ()) -> Report:
    """Run the comparisons on ``batches`` batches of ``rows`` rows of the recipe's own data.

    ``ranks``: processes of the second comparison. ``steps``: of the last, interrupted half way. ``only``: names, to run a
    few. The recipe's parts are copied, not changed.
    """
    for name in only:
        if name not in REMEDIES:
            raise UsageError(f"check: no comparison {name!r}; known: {', '.join(REMEDIES)}")
    data = Joined(recipe.rows)
    if min(rows, len(data)) < 2 * ranks:
        have = f"{min(rows, len(data))} of {len(data)}"
        raise UsageError(
            f"check: needs at least {2 * ranks} rows for {ranks} processes, got {have}; give more data or rows, or fewer ranks"
        )
    rows = min(rows, len(data))
    earlier = bool(recipe.negatives)
    lists = [[data[(start + i) % len(data)] for i in range(rows)] for start in range(0, (batches + earlier) * rows, rows)]
    runs = list(itertools.pairwise(lists)) if earlier else [(r,) for r in lists]  # batches of rows, the last is compared
    work: dict[str, Callable[[], tuple[float, str]]] = {
        "cached = plain": lambda: _worst(_cached(recipe, _batches(recipe, run)) for run in runs),
        "ranks = one": lambda: _worst(_ranks(recipe, run, ranks) for run in runs),
        "compiled = eager": lambda: _compiled(recipe, [_batches(recipe, run) for run in runs]),
        "streamed = dense": lambda: _worst(_backends(recipe, _batches(recipe, run), "eager", "dense", rows // 3) for run in runs),
        "resumed = unbroken": lambda: _resumed(recipe, rows, steps),
    }
    findings = []
    for name, compare in work.items():
        if only and name not in only:
            continue
        difference, note = compare()
        tolerance = 0.0 if name.startswith("resumed") else TOLERANCE
        if math.isnan(difference) and note:
            findings.append(Finding(name, difference, tolerance, None, note))
            continue
        passed = difference <= tolerance
        findings.append(Finding(name, difference, tolerance, passed, note, "" if passed else REMEDIES[name]))
    return Report(tuple(findings))


def relative(got: torch.Tensor, want: torch.Tensor) -> float:
    """|got - want| / |want|; 0 where both vanish, infinite where only ``want`` does or a number is none."""
    if not bool(torch.isfinite(got).all() and torch.isfinite(want).all()):
        return math.inf
    apart, size = float((got - want).norm()), float(want.norm())
    return 0.0 if apart == 0 else apart / size if size else math.inf


def gradient(
    recipe: Recipe,
    batches: Sequence[Batch],
    *,
    cached: bool,
    micro_batch_size: int,
    dropout: bool = True,
    backend: str = "auto",
    tile_side: int = 0,
) -> torch.Tensor:
    """All gradients of the last batch as one float64 vector; negatives remember those before it. Parts are copied, and
    dropout starts from the recipe's seed.
    """
    fresh = copied(recipe)
    encoder, objective = _module(fresh.encoder).train(dropout), objective_of(fresh)
    seed_everything(recipe.step.seed)
    with using(backend, tile_side):
        return last_gradient(encoder, objective, batches, micro_batch_size, cached)


def last_gradient(encoder: Any, objective: Objective, batches: Sequence[Batch], micro_batch_size: int, cached: bool) -> torch.Tensor:
    """The gradients of the last batch after the others went by."""
    parameters = [*encoder.parameters(), *objective.parameters()]
    for batch in batches:
        objective.after_step()
        for p in parameters:
            p.grad = None
        backward(encode_with(Tower(encoder, objective.fields)), encoder, objective, batch, micro_batch_size, cached=cached)
    return flat_gradient(parameters)


def flat_gradient(parameters: Sequence[nn.Parameter]) -> torch.Tensor:
    """The gradients of learned parameters, zeros where there is none, as one float64 vector."""
    learned = [p for p in parameters if p.requires_grad]
    return torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).detach().double().flatten() for p in learned])


def _batches(recipe: Recipe, run: Sequence[list[Any]]) -> list[Batch]:
    return [recipe.views(rows) for rows in run]


def _cached(recipe: Recipe, run: list[Batch]) -> float:
    largest = max(len(items) for items in run[-1].items.values())
    size = max(1, min(recipe.step.micro_batch_size or largest, math.ceil(largest / 3)))
    plain = gradient(recipe, run, cached=False, micro_batch_size=size)
    return relative(gradient(recipe, run, cached=True, micro_batch_size=size), plain)


def _ranks(recipe: Recipe, run: Sequence[list[Any]], ranks: int) -> float:
    batches = [shares(recipe, rows, ranks) for rows in run]
    one = gradient(recipe, [together(parts) for parts in batches], cached=False, micro_batch_size=0, dropout=False)
    return relative(gradients_by_ranks(recipe, batches), one)


def _backends(recipe: Recipe, run: list[Batch], backend: str, oracle: str, tile_side: int) -> float:
    """Tiles are kept smaller than the batch, so that several meet in every statistic."""
    want = gradient(recipe, run, cached=False, micro_batch_size=0, backend=oracle, tile_side=tile_side)
    return relative(gradient(recipe, run, cached=False, micro_batch_size=0, backend=backend, tile_side=tile_side), want)


def _compiled(recipe: Recipe, runs: list[list[Batch]]) -> tuple[float, str]:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        before = compiled.runs
        worst = max(_backends(recipe, run, "compiled", "eager", max(map(len, run[-1].items.values())) // 2) for run in runs)
    refused = next((str(w.message) for w in said if "is not compiled" in str(w.message)), "")
    if compiled.runs == before and not refused:
        refused = "no tile was compiled: a reduction or score of this recipe cannot be fused, or the compiler refused it earlier"
    return (math.nan, refused) if refused else (worst, "")


def _resumed(recipe: Recipe, rows: int, steps: int) -> tuple[float, str]:
    half = max(1, steps // 2)
    step = replace(recipe.step, batch_size=max(2, rows), max_steps=2 * half, save_steps=half)
    fresh = [replace(copied(recipe), step=step, text="") for _ in range(2)]
    with tempfile.TemporaryDirectory(prefix="dipole-check-") as folder:
        unbroken, resumed = Path(folder) / "unbroken", Path(folder) / "resumed"
        train(fresh[0], unbroken, keep=2, show=False)
        resumed.mkdir()
        saved = ckpt.folder_of(unbroken, half)
        shutil.copytree(saved, resumed / saved.relative_to(unbroken))
        train(fresh[1], resumed, keep=2, show=False, resume=True)
    a, b = (torch.cat([p.detach().double().flatten() for p in _learned(r)]) for r in fresh)
    return relative(b, a), f"{half} of {2 * half} steps before the checkpoint"


def copied(recipe: Recipe) -> Recipe:
    """The recipe with parts of its own: what one run changes, no other sees."""
    names = ("encoder", "score", "negatives", "losses", "balance")
    return replace(recipe, **dict(zip(names, copy.deepcopy([getattr(recipe, name) for name in names]), strict=True)))


def _learned(recipe: Recipe) -> list[torch.Tensor]:
    parts = [recipe.encoder, recipe.score, *recipe.negatives, *recipe.losses, recipe.balance]
    return [t for p in parts if isinstance(p, nn.Module) for t in (*p.parameters(), *p.buffers()) if t.is_floating_point()]


def _module(encoder: Any) -> nn.Module:
    if not isinstance(encoder, nn.Module):
        raise UsageError("check: the encoder must be a torch.nn.Module")
    return encoder


def _worst(differences: Any) -> tuple[float, str]:
    return max(differences), ""
