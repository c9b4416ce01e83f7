"""Which layer knows what: the depth at which a concept can be read, and which layers of two models see alike."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from dipole.core.errors import DataError
from dipole.diagnostics.gap import probe
from dipole.diagnostics.models import cka
from dipole.diagnostics.vectors import classes, matrix, same_number


@dataclass(frozen=True)
class ConceptDepth:
    """``accuracy`` of a probe on held-out items, layer by layer · ``peak`` the best layer's number from 0 · ``jump`` the depth, from
    1 / layers to 1, of the first layer with a clear gain over the one before, None without one · ``converged`` the depth from which
    accuracy no longer gains."""

    accuracy: tuple[float, ...]
    peak: int
    jump: float | None
    converged: float


def concept_depth(layers: Sequence[torch.Tensor], labels: torch.Tensor, held_out: float = 0.4, seed: int = 42) -> ConceptDepth:
    """At which depth a concept becomes readable by a linear probe.

        a_i = held-out accuracy of logistic regression on layer i,   jump: first a_i / a_{i-1} > 1.1,
        converged: first i after which every a_j / a_{j-1} is within 0.03 of 1

    Range: chance to 1.
    Healthy: read a concept from its peak; a concept that peaks early does not need the deeper layers.
    Source: Jin et al. 2024, arXiv:2404.07066, section 3 (60/40 split); the thresholds 1.1 and 0.03 could not be confirmed. A jump
      must also stand two standard errors above chance (the largest class's share), since at chance every gain is noise. The same
      items are held out at every layer.
    Cost: one logistic regression a layer.
    Shapes: each layer (N, d_i) with the layers in order, labels (N,) int64. Needs scikit-learn.
    Errors: DataError, also for one class.
    """
    if not layers:
        raise DataError("concept_depth: needs at least one layer")
    held = [matrix(f"concept_depth: layer {i}", layer, 4) for i, layer in enumerate(layers)]
    for layer in held[1:]:
        same_number("concept_depth", held[0], layer)
    target = classes("concept_depth", labels, len(held[0]), 2).cpu()
    order = torch.randperm(len(target), generator=torch.Generator().manual_seed(seed))
    test = order[: max(1, round(held_out * len(target)))]
    train = order[len(test) :]
    if len(target[train].unique()) < 2:
        raise DataError("concept_depth: the training part has one class only", value=len(train), remedy="give more items")
    accuracy = tuple(_accuracy(layer.cpu().double(), target, train, test) for layer in held)
    rates = [after / max(before, 1e-12) for before, after in itertools.pairwise(accuracy)]
    chance = int(torch.bincount(target).max()) / len(target)
    clear = chance + 2 * math.sqrt(chance * (1 - chance) / len(test))
    jump = next((i for i, rate in enumerate(rates, 1) if rate > 1.1 and accuracy[i] > clear), None)
    settled = next(i for i in range(len(accuracy)) if all(abs(rate - 1) <= 0.03 for rate in rates[i:]))
    depth = len(accuracy)
    peak = max(range(depth), key=accuracy.__getitem__)
    return ConceptDepth(accuracy, peak, None if jump is None else (jump + 1) / depth, (settled + 1) / depth)


@dataclass(frozen=True)
class LayerMap:
    """``similarity`` (L1, L2) of every layer of one model with every layer of another; ``best`` the pair of layers that is most alike."""

    similarity: torch.Tensor
    best: tuple[int, int]


@torch.no_grad()
def layer_map(
    first: Sequence[torch.Tensor], second: Sequence[torch.Tensor], similarity: Callable[[torch.Tensor, torch.Tensor], float] = cka
) -> LayerMap:
    """Which layers of two models to align: those that see the same items most alike, rather than the last ones.

    ``similarity``: ``cka``, or ``mutual_neighbours`` for neighbourhoods.
    Range: as the similarity's.
    Source: Groger et al. 2025, STRUCTURE, arXiv:2506.16895 (layers of highest similarity of representations are aligned).
    Cost: L1 L2 similarities.
    Shapes: layers (N, d_i) of the same N items.
    Errors: DataError.
    """
    if not first or not second:
        raise DataError("layer_map: needs at least one layer of each model", value=(len(first), len(second)))
    found = torch.tensor([[float(similarity(a, b)) for b in second] for a in first], dtype=torch.float64)
    place = int(found.argmax())
    return LayerMap(found, (place // len(second), place % len(second)))


def _accuracy(layer: torch.Tensor, target: torch.Tensor, train: torch.Tensor, test: torch.Tensor) -> float:
    fitted = probe(layer[train].numpy(), target[train].numpy())
    return float((fitted.predict(layer[test].numpy()) == target[test].numpy()).mean())
