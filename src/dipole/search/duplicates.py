"""Near-duplicates: documents whose vectors nearly coincide, in a list of answers and in a whole collection."""

from __future__ import annotations

from typing import Any

import torch

from dipole.core.unions import root
from dipole.pairwise.topk import topk_search
from dipole.search import table as tables


def collapse(vectors: torch.Tensor, threshold: float) -> list[list[int]]:
    """(n, d) vectors in order of rank -> groups of places: each starts with the best and holds those at least as near to it.

    Nearness is the cosine. Every place is in exactly one group; groups are in the order of their first.
    """
    unit = torch.nn.functional.normalize(vectors.float(), dim=1)
    groups: list[list[int]] = []
    for place, vector in enumerate(unit):
        home = next((group for group in groups if float(unit[group[0]] @ vector) >= threshold), None)
        if home is None:
            groups.append([place])
        else:
            home.append(place)
    return groups


def near_duplicates(table: Any, threshold: float, most: int = 10) -> list[list[str]]:
    """Groups of ids, of the whole table, linked by cosines of at least ``threshold``; the largest groups first.

    Each document is compared with all others through the engine and linked to its ``most`` nearest: O(N^2 d) time, and
    O(N d) memory for the vectors. Chains link: two documents of a group may be further apart than the threshold.
    """
    parts = [block for block, _ in tables.read_vectors(table)]
    if not parts:
        return []
    ids = [row["id"] for row in tables.read_columns(table, ["id"])]
    vectors = torch.nn.functional.normalize(torch.cat(parts), dim=1)
    top = topk_search(vectors, vectors, min(most + 1, len(vectors)))
    parent = list(range(len(ids)))
    for place, (scores, others) in enumerate(zip(top.values.tolist(), top.ids.tolist(), strict=True)):
        for score, other in zip(scores, others, strict=True):
            if other >= 0 and other != place and score >= threshold:
                parent[root(parent, place)] = root(parent, other)
    groups: dict[int, list[str]] = {}
    for place, id in enumerate(ids):
        groups.setdefault(root(parent, place), []).append(id)
    return sorted((g for g in groups.values() if len(g) > 1), key=lambda g: (-len(g), g))
