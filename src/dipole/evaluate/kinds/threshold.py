"""Threshold selection: from which cosine on should a search hit be believed?

From the bundle of arXiv:2406.12336 (telecom): bootstrapped accuracy; how the similarities of retrieved, correct and random
sentences overlap; and a model's own threshold with its interval. The paper's threshold rule could not be read; here it is the
cosine that best divides correct from random (Youden's J), with a quantile of the correct ones beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch

from dipole.core.errors import DataError
from dipole.core.part import at_least, between, part
from dipole.evaluate.binary import Scored
from dipole.evaluate.bootstrap import Floats, weighted_intervals
from dipole.evaluate.kind import SAMPLES, result
from dipole.evaluate.ranking import best_cosines, best_ranks, relevant_places
from dipole.evaluate.result import Result
from dipole.evaluate.task import FILES, RetrievalTask, read_task
from dipole.evaluate.vectors import Encode, Sides, cosines_of_pairs
from dipole.pairwise.topk import topk_search

__all__ = ["Threshold"]


@part
class Threshold:
    """Similarity thresholds: from which cosine on is a hit to be believed, and how sure is that number?"""

    top: int = at_least(1, 5, "K, retrieved sentences a query whose similarities are looked at")
    random: int = at_least(1, 10, "random sentences a query")
    quantile: float = between(0.0, 1.0, 0.05, "share of correct sentences below the second threshold")
    bins: int = at_least(2, 50, "of the overlaps' histograms, from -1 to 1")

    files: ClassVar[str] = FILES
    unit: ClassVar[str] = "queries"
    two_sided: ClassVar[bool] = True
    primary: ClassVar[str] = "threshold"
    policy: ClassVar[Mapping[str, str]] = {
        "score": "cosine, float32, exact over the whole corpus",
        "correct": "the best of a query's relevant documents",
        "random": "documents drawn for each query, its relevant ones left out",
        "ties": "documents within 1e-6 of the correct one's cosine count half a rank each",
        "queries": "queries without a relevant document in the corpus are left out",
        "interval": "95% percentile bootstrap over queries, each with its own similarities; thresholds are chosen again in every resample",
    }

    def definitions(self) -> dict[str, str]:
        return {
            "threshold": "the cosine with the largest (share of correct sentences at or above it) - (share of random ones at or above it)",
            "youden": "that largest difference of shares",
            "quantile_threshold": f"the cosine that {1 - self.quantile:.0%} of correct sentences reach",
            "accepted_precision": "share of queries answered right among those whose nearest sentence reaches the threshold",
            "accepted_share": "share of queries whose nearest sentence reaches the threshold",
            "accuracy@1": "share of queries whose correct sentence ranks first",
            "accuracy@3": "share of queries whose correct sentence ranks among the first 3",
            "accuracy@5": "share of queries whose correct sentence ranks among the first 5",
            "overlap_top_correct": f"sum over {self.bins} bins of the smaller share: similarities of the {self.top} nearest and of correct",
            "overlap_correct_random": f"the same for similarities of correct and of random sentences, {self.bins} bins",
            "overlap_top_random": f"the same for similarities of the {self.top} nearest and of random sentences, {self.bins} bins",
        }

    def read(self, place: str, name: str = "") -> RetrievalTask:
        return read_task(place, name)

    def __call__(
        self, task: RetrievalTask, encode: Encode, encode_keys: Encode | None = None, *, seed: int = 0, samples: int = SAMPLES
    ) -> Result:
        """Raises DataError where no query has a relevant document or every document is relevant to a query."""
        chosen, gold = relevant_places(task)
        sides = Sides(encode, encode_keys)
        queries = sides.queries([task.queries[i] for i in chosen], "queries")
        documents = sides.keys(task.documents, "documents")
        top = topk_search(queries, documents, k=min(self.top, len(documents))).values.double().numpy()
        correct: Floats = best_cosines(queries, documents, gold).double().numpy()
        drawn = self._random(queries, documents, gold, seed, task.name)
        ranks = best_ranks(queries, documents, gold)
        measured = _Measured(top, correct, drawn, ranks, self)
        metrics = {name: float(values[0]) for name, values in measured(np.ones((1, len(ranks)))).items()}
        intervals = weighted_intervals(len(ranks), measured, seed, min(samples, 1_000), spread=1 + self.random)
        columns: dict[str, Any] = {
            "query_id": [task.query_ids[i] for i in chosen],
            "rank": ranks,
            "top_cosine": top[:, 0],
            "correct_cosine": correct,
            "random_cosine": drawn.mean(axis=1),
        }
        counts = {"queries": len(chosen), "documents": len(documents), "queries_without_relevant": len(task.query_ids) - len(chosen)}
        return result(self, task.name, sides, metrics, intervals, columns, {**counts, **task.counts}, seed)

    def _random(self, queries: torch.Tensor, documents: torch.Tensor, gold: list[list[int]], seed: int, task: str) -> Floats:
        chance = np.random.default_rng(seed)
        cols: list[int] = []
        for places in gold:
            free = len(documents) - len(set(places))
            if not free:
                raise DataError(f"task {task}: a query is answered by every document, so none can be random", value=len(documents))
            found: list[int] = []
            while len(found) < self.random:
                found += [c for c in chance.integers(0, len(documents), size=self.random).tolist() if c not in places]
            cols += found[: self.random]
        rows = np.repeat(np.arange(len(gold)), self.random).tolist()
        drawn: Floats = cosines_of_pairs(queries, documents, rows, cols).double().numpy().reshape(-1, self.random)
        return drawn


class _Measured:
    """All figures under (S, N) counts of queries."""

    def __init__(self, top: Floats, correct: Floats, drawn: Floats, ranks: Floats, kind: Threshold) -> None:
        self._top, self._correct, self._ranks, self._kind = top, correct, ranks, kind
        self._scored = Scored(np.concatenate([correct, drawn.ravel()]), np.arange(drawn.size + len(correct)) < len(correct))
        self._histograms = {"top": _histogram(top, kind.bins), "correct": _histogram(correct[:, None], kind.bins)}
        self._histograms["random"] = _histogram(drawn, kind.bins)
        self._order = np.argsort(correct)

    def __call__(self, weights: Floats) -> dict[str, Floats]:
        kind, total = self._kind, weights.sum(axis=1)
        curve = self._scored.curve(np.concatenate([weights, np.repeat(weights, kind.random, axis=1)], axis=1))
        youden, cut = curve.best(curve.youden())
        inside = weights * (self._top[None, :, 0] >= cut[:, None])
        with np.errstate(invalid="ignore", divide="ignore"):
            precision = inside @ (self._ranks == 1).astype(np.float64) / inside.sum(axis=1)
        reached = np.cumsum(weights[:, self._order], axis=1) > kind.quantile * total[:, None]
        found = {
            "threshold": cut,
            "youden": youden,
            "quantile_threshold": self._correct[self._order][reached.argmax(axis=1)],
            "accepted_precision": precision,
            "accepted_share": inside.sum(axis=1) / total,
        }
        found |= {f"accuracy@{k}": weights @ (self._ranks <= k).astype(np.float64) / total for k in (1, 3, 5)}
        shares = {name: _shares(weights @ counts) for name, counts in self._histograms.items()}
        for first, second in (("top", "correct"), ("correct", "random"), ("top", "random")):
            found[f"overlap_{first}_{second}"] = np.minimum(shares[first], shares[second]).sum(axis=1)
        return found


def _histogram(values: Floats, bins: int) -> Floats:
    """(N, bins) how many of each row's values fall into equal bins from -1 to 1."""
    where = np.clip(((values + 1) / 2 * bins).astype(np.int64), 0, bins - 1)
    counts = np.zeros((len(values), bins))
    np.add.at(counts, (np.arange(len(values))[:, None], where), 1)
    return counts


def _shares(counts: Floats) -> Floats:
    found: Floats = counts / counts.sum(axis=1, keepdims=True)
    return found
