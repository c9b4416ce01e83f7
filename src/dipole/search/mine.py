"""Mined hard negatives: near a query by some model, but not so near that they are likely right answers.

For each query the ``depth`` nearest documents are looked at, best first, and a document is passed over that is

    one of the query's own positives, or equal to one, or equal to the query     always
    ranked before ``skip``                                                      rank window
    scored above ``max_score``                                                  s > c
    scored above positive - ``margin``                                          s > s+ - m
    scored above ``share`` of the positive                                      s > p s+, for s+ > 0

s+ is the query's best positive. Of what is left the first ``count`` are taken, or ``count`` drawn by chance. A row may end up
with fewer, or none. Source: top-k with a share of the positive is TopK-PercPos of NV-Retriever, arXiv:2407.15831, section 3.

Shapes: N queries, M documents, (N, d) and (M, d) vectors. Memory O(N depth + block) by the engine's streamed top-k.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from dipole.core.errors import DataError
from dipole.core.part import at_least, between, choice, optional, part, real
from dipole.core.protocols import Row
from dipole.pairwise.topk import topk_search
from dipole.views.take import as_list

__all__ = ["Mine", "Mined", "answers_of", "mine_rows"]

_BLOCK = 4096


@dataclass(frozen=True)
class Mined:
    """``negatives``: per query (document, score), best first. ``passed_over``: rule -> documents, within ``depth``.

    ``above``: queries for which some document that is not known to be positive scores above the positive: each a mistake of
    the model or a false negative in waiting. ``short``: queries with fewer than were asked for. ``texts``: how many documents there were.
    """

    negatives: tuple[tuple[tuple[int, float], ...], ...]
    passed_over: Mapping[str, int]
    above: int
    short: int
    texts: int

    @property
    def text(self) -> str:
        """In words."""
        n = len(self.negatives)
        found = sum(map(len, self.negatives))
        parts = ", ".join(f"{number} {rule}" for rule, number in self.passed_over.items() if number)
        return (
            f"{found} negatives for {n} rows, {self.short} rows have fewer than asked for. In {self.above} rows ({self.above / n:.1%}) a "
            f"document not known as an answer scores above the answer: look at some. Passed over: {parts or 'none'}."
        )


@part
class Mine:
    """How negatives are chosen. See the module's text."""

    count: int = at_least(1, 5, "negatives a row, at most")
    depth: int = at_least(1, 100, "how many of the nearest documents are looked at")
    skip: int = at_least(0, 0, "the first so many ranks are passed over, positives not counted")
    share: float | None = optional(between(0.0, 1.0, 0.95, "of the positive's score that a negative may have at most"))
    margin: float | None = optional(real(0.0, "that a negative's score must stay below the positive's"))
    max_score: float | None = optional(real(1.0, "that a negative may have"))
    pick: str = choice(("top", "random"), "top", "the hardest of what is left, or by chance")
    seed: int = at_least(0, 0, "of the chance")

    def __call__(
        self,
        queries: torch.Tensor,
        documents: torch.Tensor,
        positives: Sequence[Sequence[int]],
        equal_to_query: Sequence[int] | None = None,
    ) -> Mined:
        """``positives[i]``: the documents of query i; ``equal_to_query[i]``: the document with its very content, or -1.

        Documents must differ in content. Raises DataError for a query without a positive, and for vectors of two lengths.
        """
        if queries.shape[1:] != documents.shape[1:]:
            raise DataError("mine: queries and documents must have vectors of one length", value=(queries.shape[1], documents.shape[1]))
        if len(positives) != len(queries):
            raise DataError("mine: every query needs its positives", value=(len(queries), len(positives)))
        lonely = next((i for i, own in enumerate(positives) if not own), None)
        if lonely is not None:
            raise DataError(f"mine: query {lonely} has no positive, so nothing tells its negatives", remedy="leave it out")
        generator = torch.Generator().manual_seed(self.seed)
        passed = dict.fromkeys(("in the first ranks", "above the highest score", "too near to the positive"), 0)
        rows: list[tuple[tuple[int, float], ...]] = []
        above = 0
        for start in range(0, len(queries), _BLOCK):
            mine = queries[start : start + _BLOCK]
            own = [set(p) for p in positives[start : start + len(mine)]]
            widest = self.depth + max(map(len, own)) + 1
            top = topk_search(mine, documents, min(widest, len(documents)))
            for place, (scores, ids) in enumerate(zip(top.values.tolist(), top.ids.tolist(), strict=True)):
                at = start + place
                best = max(float(mine[place] @ documents[d]) for d in own[place])
                barred = own[place] | ({equal_to_query[at]} if equal_to_query is not None else set())
                found = [(d, s) for d, s in zip(ids, scores, strict=True) if d >= 0 and d not in barred][: self.depth]
                above += bool(found) and found[0][1] > best
                rows.append(self._chosen(found, best, passed, generator))
        return Mined(tuple(rows), passed, above, sum(len(row) < self.count for row in rows), len(documents))

    def _chosen(
        self, found: Sequence[tuple[int, float]], best: float, passed: dict[str, int], generator: torch.Generator
    ) -> tuple[tuple[int, float], ...]:
        highest = math.inf if self.max_score is None else self.max_score
        near = best - self.margin if self.margin is not None else math.inf
        if self.share is not None and best > 0:
            near = min(near, self.share * best)
        left = []
        for rank, (document, score) in enumerate(found):
            if rank < self.skip:
                passed["in the first ranks"] += 1
            elif score > highest:
                passed["above the highest score"] += 1
            elif score > near:
                passed["too near to the positive"] += 1
            else:
                left.append((document, score))
        if self.pick == "random" and len(left) > self.count:
            kept = torch.randperm(len(left), generator=generator)[: self.count].sort().values.tolist()
            left = [left[k] for k in kept]
        return tuple(left[: self.count])


def mine_rows(
    rows: Sequence[Row],
    encode: Callable[[list[str], str], torch.Tensor],
    rules: Mine,
    corpus: Iterable[str] = (),
    path: str | Path | None = None,
) -> tuple[list[list[str]], Mined]:
    """The negatives of each row, best first, and what was found on the way. Rows have ``anchor`` and ``positive`` (one or several).

    ``encode(texts, side)`` gives the vectors of different texts, side ``queries`` or ``keys``. Mined from are the positives of all
    rows and ``corpus``; what answers an anchor in one row answers it in all. ``path`` is named in errors. Raises DataError for a
    row without an anchor or a positive (rows counted from 1), and where no negative is left.
    """
    documents, answers = answers_of(rows, path)
    for text in corpus:
        documents.setdefault(text, len(documents))
    place = {anchor: i for i, anchor in enumerate(answers)}
    queries = encode(list(answers), "queries")[[place[row["anchor"]] for row in rows]]
    known = [sorted(answers[row["anchor"]]) for row in rows]
    mined = rules(queries, encode(list(documents), "keys"), known, [documents.get(row["anchor"], -1) for row in rows])
    if not any(mined.negatives):
        remedy = "raise share or depth, or add a corpus"
        raise DataError("no negative is left under these rules", path=path, value=mined.text, remedy=remedy)
    texts = list(documents)
    return [[texts[d] for d, _ in found] for found in mined.negatives], mined


def answers_of(rows: Sequence[Row], path: str | Path | None = None) -> tuple[dict[str, int], dict[str, set[int]]]:
    """The different positives of rows, numbered, and which of them answer each anchor. Raises DataError for a row that lacks either."""
    documents: dict[str, int] = {}
    answers: dict[str, set[int]] = {}
    for number, row in enumerate(rows, 1):
        positives = as_list(row.get("positive"))
        if not isinstance(row.get("anchor"), str) or not positives:
            raise DataError(f"row {number} needs an anchor and a positive", path=path, remedy="name the columns so")
        answers.setdefault(row["anchor"], set()).update(documents.setdefault(p, len(documents)) for p in positives)
    return documents, answers
