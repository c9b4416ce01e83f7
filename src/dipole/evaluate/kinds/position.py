"""Position sensitivity: does an encoder of long texts look mostly at their beginning? (arXiv:2404.04163)

* Profile: a document is cut into K equal segments; the cosine of the document's vector with each segment's.
* Moved evidence: the passage that answers a query is taken out of its document and put at slot k of the rest; the cosine of the
  query with the result, and the rank of the result among the other documents as they are.
* Natural position: queries grouped by where their passage stands in the document.

A bias towards the head shows as curves that fall from the first slot on. The paper was read as an abstract; the index of the worst
slot follows later work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import torch

from dipole.core.errors import DataError
from dipole.core.part import at_least, part
from dipole.evaluate.bootstrap import Floats, weighted_intervals
from dipole.evaluate.kind import SAMPLES, result
from dipole.evaluate.ranking import best_cosines, ranks_of
from dipole.evaluate.result import Result
from dipole.evaluate.table import splits
from dipole.evaluate.vectors import Encode, Sides, cosines_of_pairs

__all__ = ["Position"]


@dataclass(frozen=True, eq=False)
class PositionTask:
    """Documents; and for each, where known, a query and the passage of the document that answers it."""

    name: str
    documents: Sequence[str]
    queries: Sequence[str] = ()
    passages: Sequence[str] = ()


@part
class Position:
    """Long texts: does it matter where in a document its content, or the answer to a query, stands?"""

    slots: int = at_least(2, 5, "K, segments of a document and places of a passage")
    depth: int = at_least(1, 100, "rank beyond which a document counts as not found")

    files: ClassVar[str] = (
        "FILE with document (for the profile alone); with query, document and passage, a text that stands in the document, for all three"
    )
    unit: ClassVar[str] = "documents"
    two_sided: ClassVar[bool] = True
    primary: ClassVar[str] = "head_bias"
    policy: ClassVar[Mapping[str, str]] = {
        "segments": "documents are cut at blanks into K parts of equal numbers of words; one with fewer than K words raises an error",
        "moved": "the rest of the document in order, the passage between its parts; the other documents as they are, its copies left out",
        "natural": "slot of the middle of the passage, by characters; slots without a query are left out",
        "truncation": "an encoder that cuts texts never sees what is behind the cut: that is a bias too, and counted by the encoder",
        "ties": "documents within 1e-6 of the cosine count half a rank each",
        "interval": "95% percentile bootstrap over documents",
    }

    def definitions(self) -> dict[str, str]:
        slots = range(1, self.slots + 1)
        found = {
            "head_bias": "(value at the first slot - mean over slots) / mean; of the moved curve, without queries of the profile",
            "worst_case": "1 - smallest / largest value over slots, of the same curve",
        }
        found |= {f"profile@{k}": f"mean cosine of a document with its segment {k} of {self.slots}" for k in slots}
        found |= {f"moved@{k}": f"mean cosine of a query with its document, the passage moved to slot {k} of {self.slots}" for k in slots}
        rank = f"mean of 1 / rank, 0 beyond {self.depth}"
        found |= {f"moved_mrr@{k}": f"{rank}, of the document with the passage moved to slot {k} of {self.slots}" for k in slots}
        found |= {"mrr_head_bias": "head bias of the moved_mrr curve", "mrr_worst_case": "worst case of the moved_mrr curve"}
        return found | {f"natural_mrr@{k}": f"{rank}, of documents whose passage stands in slot {k} of {self.slots}" for k in slots}

    def read(self, place: str, name: str = "") -> PositionTask:
        table = splits(place)["test"]
        if not table.has("positive"):
            return PositionTask(name or place, table.texts("anchor"))
        table.need("passage")
        queries, documents, passages = table.texts("anchor"), table.texts("positive"), table.texts("passage")
        for row, (document, passage) in enumerate(zip(documents, passages, strict=True)):
            if passage not in document:
                raise table.error(row, "passage", "the passage must stand in the document, letter by letter", passage)
        return PositionTask(name or place, documents, queries, passages)

    def __call__(
        self, task: PositionTask, encode: Encode, encode_keys: Encode | None = None, *, seed: int = 0, samples: int = SAMPLES
    ) -> Result:
        """Raises DataError for a document of fewer words than slots and for a passage that is not in its document."""
        sides = Sides(encode, encode_keys)
        documents = sides.keys(task.documents, "documents")
        curves = {"profile": self._profile(task, sides, documents)}
        columns: dict[str, Any] = {"document": list(range(len(documents)))}
        natural = np.full(len(documents), -1)
        if task.queries:
            curves |= self._moved(task, sides, documents)
            natural = np.array([_slot(d, p, self.slots) for d, p in zip(task.documents, task.passages, strict=True)])
            columns |= {"natural_slot": (natural + 1).tolist(), "natural_mrr": curves["natural_mrr"][:, 0]}
        columns |= {f"{name}@{k + 1}": values[:, k] for name, values in curves.items() for k in range(self.slots) if name != "natural_mrr"}

        def figures(weights: Floats) -> dict[str, Floats]:
            total = weights.sum(axis=1)
            means = {name: weights @ values / total[:, None] for name, values in curves.items()}
            head, worst = _indices(means["moved" if task.queries else "profile"])
            found = {"head_bias": head, "worst_case": worst}
            found |= {f"{name}@{k + 1}": means[name][:, k] for name in means for k in range(self.slots) if name != "natural_mrr"}
            if task.queries:
                found["mrr_head_bias"], found["mrr_worst_case"] = _indices(means["moved_mrr"])
                for k in np.unique(natural):
                    inside = weights[:, natural == k]
                    with np.errstate(invalid="ignore"):
                        found[f"natural_mrr@{k + 1}"] = inside @ curves["natural_mrr"][natural == k, 0] / inside.sum(axis=1)
            return found

        metrics = {name: float(values[0]) for name, values in figures(np.ones((1, len(documents)))).items()}
        notes = ("a curve's mean is not above 0, so its indices are undefined",) if np.isnan(list(metrics.values())).any() else ()
        counts = {"documents": len(documents), "queries": len(task.queries)}
        return result(
            self, task.name, sides, metrics, weighted_intervals(len(documents), figures, seed, samples), columns, counts, seed, notes
        )

    def _profile(self, task: PositionTask, sides: Sides, documents: torch.Tensor) -> Floats:
        """(N, K) cosines of documents with their segments."""
        segments = []
        for place, document in enumerate(task.documents):
            words = document.split()
            if len(words) < self.slots:
                rule = (
                    f"task {task.name}: a document must have at least {self.slots} words, one a segment; document {place} has {len(words)}"
                )
                raise DataError(rule, value=document, remedy="choose fewer slots or leave it out")
            edges = [round(k * len(words) / self.slots) for k in range(self.slots + 1)]
            segments += [" ".join(words[a:b]) for a, b in pairwise(edges)]
        rows = np.repeat(np.arange(len(documents)), self.slots).tolist()
        return self._cosines(documents, sides.keys(segments, "segments"), rows)

    def _moved(self, task: PositionTask, sides: Sides, documents: torch.Tensor) -> dict[str, Floats]:
        """``moved`` (N, K) cosines, ``moved_mrr`` (N, K), and ``natural_mrr`` (N, 1) of the documents as they are."""
        texts = [t for d, p in zip(task.documents, task.passages, strict=True) for t in _moves(d, p, self.slots, task.name)]
        queries = sides.queries(task.queries, "queries")
        rows = np.repeat(np.arange(len(documents)), self.slots).tolist()
        moved = self._cosines(queries, sides.keys(texts, "documents with the passage moved"), rows)
        copies: dict[str, list[int]] = {}
        for place, document in enumerate(task.documents):
            copies.setdefault(document, []).append(place)
        own = [copies[document] for document in task.documents]
        wanted = {f"slot{k}": torch.from_numpy(moved[:, k]).float() for k in range(self.slots)}
        wanted["natural"] = best_cosines(queries, documents, own)
        ranks = {name: np.where(r <= self.depth, 1 / r, 0.0) for name, r in ranks_of(queries, documents, own, wanted).items()}
        stacked = np.stack([ranks[f"slot{k}"] for k in range(self.slots)], axis=1)
        return {"moved": moved, "moved_mrr": stacked, "natural_mrr": ranks["natural"][:, None]}

    def _cosines(self, first: torch.Tensor, second: torch.Tensor, rows: list[int]) -> Floats:
        found: Floats = cosines_of_pairs(first, second, rows, range(len(second))).double().numpy().reshape(-1, self.slots)
        return found


def _moves(document: str, passage: str, slots: int, task: str) -> list[str]:
    """The document with the passage at the start, ..., at the end of the rest."""
    before, found, after = document.partition(passage)
    if not found:
        raise DataError(f"task {task}: the passage must stand in the document, letter by letter", value=passage)
    rest = [*before.split(), *after.split()]
    places = [round(k * len(rest) / (slots - 1)) for k in range(slots)]
    return [" ".join([*rest[:place], passage, *rest[place:]]) for place in places]


def _slot(document: str, passage: str, slots: int) -> int:
    middle = document.index(passage) + len(passage) / 2
    return min(slots - 1, int(middle / len(document) * slots))


def _indices(curve: Floats) -> tuple[Floats, Floats]:
    """(S,) head bias and worst case of (S, K) curves; NaN where the mean, or the largest value, is not above 0."""
    mean, high = curve.mean(axis=1), curve.max(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        head = np.where(mean > 0, (curve[:, 0] - mean) / mean, np.nan)
        return head, np.where(high > 0, 1 - curve.min(axis=1) / high, np.nan)
