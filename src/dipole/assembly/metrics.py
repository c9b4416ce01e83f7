"""What a recipe's small run is measured by: one number from the vectors of its test rows.

A metric sees a ``Seen``; a name with a parameter after ``@`` (``recall@1``) is one metric.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from dipole import diagnostics
from dipole.core.errors import DataError
from dipole.core.protocols import Row


@dataclass(frozen=True, eq=False)
class Seen:
    """Test rows as vectors: each column is encoded when a metric first asks for it."""

    encoder: Any
    rows: Sequence[Row]

    @cached_property
    def anchors(self) -> torch.Tensor:
        """(N, d): ``anchor`` as a query."""
        return self._encoded("anchor", "queries")

    @cached_property
    def positives(self) -> torch.Tensor:
        """(N, d): ``positive`` as a key. Raises DataError where the rows have none."""
        return self._encoded("positive", "keys")

    @cached_property
    def negatives(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(K, d) the rows' own ``negative`` as keys, and (K,) the row each belongs to. Raises DataError where a row has none."""
        listed = [value if isinstance(value, (list, tuple)) else [value] for value in (self._of(row, "negative") for row in self.rows)]
        owner = torch.tensor([place for place, some in enumerate(listed) for _ in some])
        return self.encoder.encode([item for some in listed for item in some], side="keys"), owner

    @cached_property
    def labels(self) -> torch.Tensor:
        """(N,) int64. Raises DataError where the rows have none."""
        return torch.tensor([self._of(row, "label") for row in self.rows])

    @cached_property
    def grades(self) -> torch.Tensor:
        """(N,) float64: ``score``. Raises DataError where the rows have none."""
        return torch.tensor([self._of(row, "score") for row in self.rows], dtype=torch.float64)

    def _encoded(self, column: str, side: str) -> torch.Tensor:
        vectors: torch.Tensor = self.encoder.encode([self._of(row, column) for row in self.rows], side=side)
        return vectors

    def _of(self, row: Row, column: str) -> Any:
        if column not in row:
            raise DataError(f"the small run's test rows have no {column}, which the metric reads", column=column)
        return row[column]


def uniformity(seen: Seen) -> float:
    """``dipole.diagnostics.uniformity`` of the anchors; lower is more spread."""
    return diagnostics.uniformity(seen.anchors.double())


def alignment(seen: Seen) -> float:
    """``dipole.diagnostics.alignment`` of anchors and positives; lower is closer."""
    return diagnostics.alignment(seen.anchors.double(), seen.positives.double())


def effective_rank(seen: Seen) -> float:
    """``dipole.diagnostics.effective_rank`` of the anchors; higher is less collapsed."""
    return diagnostics.effective_rank(seen.anchors.double())


def recall_at_1(seen: Seen) -> float:
    """Share of anchors whose own positive scores highest."""
    found = (seen.anchors @ seen.positives.T).argmax(1)
    return float((found == torch.arange(len(found))).double().mean())


def nearest_label(seen: Seen) -> float:
    """Share of anchors whose nearest other anchor (cosine) has the same label."""
    unit = torch.nn.functional.normalize(seen.anchors.double(), dim=-1)
    labels = seen.labels
    found = (unit @ unit.T).fill_diagonal_(-torch.inf).argmax(1)
    return float((labels[found] == labels).double().mean())


def match_label(seen: Seen) -> float:
    """Share of anchors whose highest scoring positive, of all rows, has the anchor's label."""
    labels = seen.labels
    found = (seen.anchors @ seen.positives.T).argmax(1)
    return float((labels[found] == labels).double().mean())


def knn_accuracy(seen: Seen) -> float:
    """Share of anchors whose 5 nearest other anchors (cosine) vote for their label; nearer ones count more (weight: the cosine)."""
    unit = torch.nn.functional.normalize(seen.anchors.double(), dim=-1)
    labels = seen.labels
    near, who = (unit @ unit.T).fill_diagonal_(-torch.inf).topk(min(5, len(unit) - 1), dim=1)
    votes = torch.zeros(len(unit), int(labels.max()) + 1, dtype=torch.float64).scatter_add_(1, labels[who], near.clamp(min=0) + 1e-9)
    return float((votes.argmax(1) == labels).double().mean())


def probe_accuracy(seen: Seen) -> float:
    """Accuracy of a linear classifier, ridge regression on one-hot labels, each fifth of the rows tested with the other four."""
    labels = seen.labels
    wanted = torch.nn.functional.one_hot(labels).double()
    inputs = torch.cat([seen.anchors.double(), torch.ones(len(labels), 1, dtype=torch.float64)], 1)
    right = 0
    for fold in range(5):
        held = torch.arange(len(labels)) % 5 == fold
        known = inputs[~held]
        ridge = known.T @ known + 1e-3 * len(known) * torch.eye(known.shape[1], dtype=torch.float64)
        found = inputs[held] @ torch.linalg.solve(ridge, known.T @ wanted[~held])
        right += int((found.argmax(1) == labels[held]).sum())
    return right / len(labels)


def own_negatives(seen: Seen) -> float:
    """Share of anchors whose positive scores higher than all of the row's own negatives."""
    first = (seen.anchors * seen.positives).sum(1)
    items, owner = seen.negatives
    best = torch.full_like(first, -torch.inf).scatter_reduce(0, owner, (seen.anchors[owner] * items).sum(1), "amax")
    return float((first > best).double().mean())


def spearman(seen: Seen) -> float:
    """Rank correlation of the scores of anchor and positive with the rows' grades (``score``)."""
    scores = (seen.anchors.double() * seen.positives.double()).sum(1)
    ranks = [_ranks(x) - (len(scores) - 1) / 2 for x in (scores, seen.grades)]
    return float((ranks[0] * ranks[1]).sum() / (ranks[0].norm() * ranks[1].norm()))


def _ranks(values: torch.Tensor) -> torch.Tensor:
    """From 0, equal values sharing the mean of their ranks."""
    _, group, size = values.unique(return_inverse=True, return_counts=True)
    ranks: torch.Tensor = (size.cumsum(0) - (size + 1).double() / 2)[group]
    return ranks


METRICS: Mapping[str, Callable[[Seen], float]] = {
    "uniformity": uniformity,
    "alignment": alignment,
    "effective-rank": effective_rank,
    "recall@1": recall_at_1,
    "nearest-label": nearest_label,
    "match-label": match_label,
    "knn-accuracy": knn_accuracy,
    "probe-accuracy": probe_accuracy,
    "own-negatives": own_negatives,
    "spearman": spearman,
}
