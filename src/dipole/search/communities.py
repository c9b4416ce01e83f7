"""Communities: rows whose answers are hard negatives of each other, so that a batch made of them is hard by itself (B3).

    i -> j    the answer of row j is among ranks skip + 1 to skip + depth of row i's anchor, answers of row i not counted
    i - j     i -> j and j -> i; rows that share an answer are never linked
    communities of this graph by modularity (Louvain); one of more than ``size`` rows is cut: from the row with the most links a piece
    grows by the row with the most links into it, up to ``size``, until no row is left

A row without a link is a community by itself. The first ranks are left out because they are often answers that nobody marked.
Source: arXiv:2505.11293, section 3, which takes METIS for the communities where this takes networkx. Shapes: N rows, M answers; exact
ranks by the engine's streamed top-k, memory O(N (skip + depth)), links in Python: minutes for a million of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dipole.core.errors import DataError
from dipole.core.extras import need
from dipole.core.part import at_least, part
from dipole.core.protocols import Row
from dipole.pairwise.topk import topk_search
from dipole.search.mine import answers_of

__all__ = ["Communities", "Found", "group_rows"]


@dataclass(frozen=True)
class Found:
    """``of`` (N,) int64: the community of each row, numbered from 0 in the order of their first rows. ``links``: all; ``kept``: the
    share of links whose two rows are in one community, 0 where there is none."""

    of: torch.Tensor
    links: int
    kept: float

    @property
    def text(self) -> str:
        """In words."""
        sizes = torch.bincount(self.of)
        alone = int((sizes == 1).sum())
        return (
            f"{len(self.of)} rows in {len(sizes)} communities, the largest of {int(sizes.max())}, {alone} rows alone; "
            f"{self.links} links, {self.kept:.1%} of them inside a community."
        )


@part
class Communities:
    """How rows are put together. See the module's text."""

    size: int = at_least(2, 32, "rows of a community, at most: K; batches hold several")
    depth: int = at_least(1, 100, "m: ranks that link")
    skip: int = at_least(
        0, 30, "p: the first so many ranks do not; 30 for retrieval, 70 for answers to questions about images, in the paper"
    )
    seed: int = at_least(0, 0, "of the order in which communities are tried")

    def __call__(self, queries: torch.Tensor, answers: torch.Tensor, own: Sequence[Sequence[int]]) -> Found:
        """queries (N, d), answers (M, d), ``own[i]``: the answers of row i. Raises DataError where they do not fit."""
        if queries.shape[1:] != answers.shape[1:] or len(own) != len(queries) or not len(queries):
            raise DataError("communities: needs a query a row, its answers, and vectors of one length", value=(len(queries), len(own)))
        links = self._links(queries, answers, [frozenset(mine) for mine in own])
        graph: Any = need("networkx", "negatives", "communities").Graph()
        graph.add_nodes_from(range(len(queries)))
        graph.add_edges_from(links)
        found = need("networkx.algorithms.community", "negatives", "communities").louvain_communities(graph, seed=self.seed)
        of = torch.empty(len(queries), dtype=torch.int64)
        for number, piece in enumerate(sorted((p for members in found for p in self._pieces(graph, members)), key=min)):
            of[list(piece)] = number
        inside = sum(bool(of[a] == of[b]) for a, b in links)
        return Found(of, len(links), inside / len(links) if links else 0.0)

    def _links(self, queries: torch.Tensor, answers: torch.Tensor, own: Sequence[frozenset[int]]) -> list[tuple[int, int]]:
        rows_of: dict[int, list[int]] = {}
        for row, mine in enumerate(own):
            for answer in mine:
                rows_of.setdefault(answer, []).append(row)
        widest = min(len(answers), self.skip + self.depth + max(map(len, own)))
        near: list[set[int]] = []
        for row, ranked in enumerate(topk_search(queries, answers, widest).ids.tolist()):
            kept = [answer for answer in ranked if answer >= 0 and answer not in own[row]][self.skip : self.skip + self.depth]
            near.append({other for answer in kept for other in rows_of.get(answer, ()) if not own[other] & own[row]})
        return sorted((a, b) for a, others in enumerate(near) for b in others if a < b and a in near[b])

    def _pieces(self, graph: Any, members: set[int]) -> list[list[int]]:
        left, pieces = set(members), []
        while len(left) > self.size:
            piece = [min(left, key=lambda row: (-sum(other in left for other in graph[row]), row))]
            reached: Counter[int] = Counter()
            while True:
                left.discard(piece[-1])
                reached.pop(piece[-1], None)
                reached.update(other for other in graph[piece[-1]] if other in left)
                if len(piece) == self.size or not reached:
                    break
                piece.append(min(reached, key=lambda row: (-reached[row], row)))
            pieces.append(piece)
        return [*pieces, sorted(left)] if left else pieces


def group_rows(
    rows: Sequence[Row], encode: Callable[[list[str], str], torch.Tensor], rules: Communities, path: str | Path | None = None
) -> Found:
    """The community of each row. Rows have ``anchor`` and ``positive`` (one or several); ``encode(texts, side)`` gives the vectors of
    different texts. Raises DataError as ``mine_rows`` does."""
    documents, answers = answers_of(rows, path)
    place = {anchor: i for i, anchor in enumerate(answers)}
    queries = encode(list(answers), "queries")[[place[row["anchor"]] for row in rows]]
    return rules(queries, encode(list(documents), "keys"), [sorted(answers[row["anchor"]]) for row in rows])
