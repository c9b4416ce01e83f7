"""What a recipe's small run is measured by: one number from the vectors of its test rows.

A metric sees a ``Seen``; a name with a parameter after ``@`` (``recall@1``) is one metric.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from dipole import diagnostics
from dipole.core.errors import DataError
from dipole.core.protocols import Row


@dataclass(frozen=True, eq=False)
class Seen:
    """Test rows as vectors. ``anchors`` (N, d); ``positives`` (N, d) and ``labels`` (N,) int64 where the rows have them."""

    anchors: torch.Tensor
    positives: torch.Tensor | None
    labels: torch.Tensor | None

    def need(self, field: str) -> torch.Tensor:
        """The field. Raises DataError where the rows have none."""
        value: torch.Tensor | None = getattr(self, field)
        if value is None:
            raise DataError(f"the small run's test rows have no {field[:-1]}, which the metric reads")
        return value


def encoded(encoder: Any, rows: Sequence[Row]) -> Seen:
    """The rows of a small run's test, encoded: ``anchor`` as a query, ``positive`` as a key, ``label`` as it is."""
    anchors = encoder.encode([row["anchor"] for row in rows], side="queries")
    positives = encoder.encode([row["positive"] for row in rows], side="keys") if "positive" in rows[0] else None
    labels = torch.tensor([row["label"] for row in rows]) if isinstance(rows[0].get("label"), int) else None
    return Seen(anchors, positives, labels)


def uniformity(seen: Seen) -> float:
    """``dipole.diagnostics.uniformity`` of the anchors; lower is more spread."""
    return diagnostics.uniformity(seen.anchors.double())


def alignment(seen: Seen) -> float:
    """``dipole.diagnostics.alignment`` of anchors and positives; lower is closer."""
    return diagnostics.alignment(seen.anchors.double(), seen.need("positives").double())


def recall_at_1(seen: Seen) -> float:
    """Share of anchors whose own positive scores highest."""
    found = (seen.anchors @ seen.need("positives").T).argmax(1)
    return float((found == torch.arange(len(found))).double().mean())


def nearest_label(seen: Seen) -> float:
    """Share of anchors whose nearest other anchor (cosine) has the same label."""
    unit = torch.nn.functional.normalize(seen.anchors.double(), dim=-1)
    labels = seen.need("labels")
    found = (unit @ unit.T).fill_diagonal_(-torch.inf).argmax(1)
    return float((labels[found] == labels).double().mean())


def match_label(seen: Seen) -> float:
    """Share of anchors whose highest scoring positive, of all rows, has the anchor's label."""
    labels = seen.need("labels")
    found = (seen.anchors @ seen.need("positives").T).argmax(1)
    return float((labels[found] == labels).double().mean())


def knn_accuracy(seen: Seen) -> float:
    """Share of anchors whose 5 nearest other anchors (cosine) vote for their label; nearer ones count more (weight: the cosine)."""
    unit = torch.nn.functional.normalize(seen.anchors.double(), dim=-1)
    labels = seen.need("labels")
    near, who = (unit @ unit.T).fill_diagonal_(-torch.inf).topk(min(5, len(unit) - 1), dim=1)
    votes = torch.zeros(len(unit), int(labels.max()) + 1, dtype=torch.float64).scatter_add_(1, labels[who], near.clamp(min=0) + 1e-9)
    return float((votes.argmax(1) == labels).double().mean())


def probe_accuracy(seen: Seen) -> float:
    """Accuracy of a linear classifier, ridge regression on one-hot labels, each fifth of the rows tested with the other four."""
    labels = seen.need("labels")
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


METRICS: Mapping[str, Callable[[Seen], float]] = {
    "uniformity": uniformity,
    "alignment": alignment,
    "recall@1": recall_at_1,
    "nearest-label": nearest_label,
    "match-label": match_label,
    "knn-accuracy": knn_accuracy,
    "probe-accuracy": probe_accuracy,
}
