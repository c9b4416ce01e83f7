"""What the doctor measures on a reading, every few steps: numbers for the log, from samples, never from everything.

| field | what |
|---|---|
| ``effective_rank`` | how many directions at most 256 of the queries' vectors use (Roy & Vetterli 2007); 1: collapsed |
| ``mean_cosine`` | mean cosine of two different of them; 1: collapsed, 0: spread |
| ``alignment`` | mean squared distance of at most 64 queries to their positives, at unit length; 0: the same |
| ``uniformity`` | log mean exp(-2 d^2) over two different of these queries; 0: collapsed, about -4: spread |
| ``rows_with_gradient`` | share of queries whose gradient is not a millionth of the largest |
| ``negatives_gradient`` | share of the keys' gradient (sum of lengths) that the given negatives get |
| ``negatives_above`` | share of the negatives that score above the row's positive, those given with the row aside |
| ``own_above`` | the same of the negatives given with the row |
| ``sure_and_wrong`` | share of rows whose softmax gives one wrong candidate more than 99.9% |
| ``copies`` | share of the batch's rows that repeat another row of the batch |
| ``given_positive`` | share of the given negatives with the content of a positive of their own query |
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from dipole.core.pairs import Pairs
from dipole.core.stacked import each_view, is_stacked
from dipole.core.vectors import leading, wide
from dipole.diagnostics.geometry import mean_cosine as mean_of_cosines
from dipole.diagnostics.spectrum import entropy_rank, spectrum_of
from dipole.pairwise import Count, LogSumExp, Max, Tile, max_rows, reduce

VECTORS = 256
_ROWS = 64
_SURE = 0.999
_NO_GRADIENT = 1e-6
_ODD = 0x1E3779B97F4A7C15


@torch.no_grad()
def effective_rank(vectors: torch.Tensor) -> float:
    """Of the first 256 of (N, d) vectors, as ``dipole.diagnostics.effective_rank`` defines it; 1 where all are 0."""
    spectrum = spectrum_of(vectors[:VECTORS])
    return entropy_rank(spectrum) if bool(spectrum[0] > 0) else 1.0


@torch.no_grad()
def mean_cosine(vectors: torch.Tensor) -> float:
    """Of all pairs of different rows of (N, d), in O(N d): ``dipole.diagnostics.anisotropy``, where a vector of 0 counts as 0."""
    return mean_of_cosines(torch.nn.functional.normalize(vectors.float(), dim=-1)) if len(vectors) > 1 else math.nan


def of_vectors(vectors: torch.Tensor) -> dict[str, float]:
    """Spread of (N, d) vectors."""
    sample = vectors[:VECTORS].to("cpu", torch.float32)
    return {"effective_rank": effective_rank(sample), "mean_cosine": mean_cosine(sample)}


def of_gradients(gradients: Mapping[str, torch.Tensor]) -> dict[str, float]:
    """From the loss's gradient on the vectors of each side, (B, d)."""
    lengths = {side: g.float().norm(dim=-1) for side, g in gradients.items()}
    found = {}
    queries = lengths.get("queries")
    if queries is not None:
        found["rows_with_gradient"] = float((queries > _NO_GRADIENT * queries.max()).float().mean())
    if "negatives" in lengths and "keys" in lengths:
        total = lengths["negatives"].sum() + lengths["keys"].sum()
        if bool(total > 0):
            found["negatives_gradient"] = float(lengths["negatives"].sum() / total)
    return found


@torch.no_grad()
def of_pairs(pairs: Pairs, owner: torch.Tensor | None, temperature: float | None) -> dict[str, float]:
    """From the scores of at most 64 rows with all columns.

    ``owner`` (M,) int64: the row each column was given with as a mined negative, -1 for none; None: there are no mined ones.
    ``temperature``: what the loss divides scores by, where it has one. Of items of several views, every view is a row.
    """
    pairs = each_view(pairs) if is_stacked(pairs) else pairs
    own = pairs.own_rows
    rows = slice(own.start, min(own.stop, own.start + _ROWS))
    some = replace(pairs, local=(rows, slice(0, 0)), rows={}, cols={} if owner is None else {"owner": owner})
    if pairs.positive.offset is not None and bool(some.positives_per_row().all()):
        best = some.positive_scores()
    else:
        best = max_rows(lambda tile: tile.scores.masked_fill(~tile.positive, -torch.inf), some)
    known = torch.isfinite(best)
    if not bool(known.any()):
        return {}
    found = of_the_plane(pairs, rows)
    limit = best.new_full((pairs.shape[0],), torch.inf)
    limit[rows] = torch.where(known, best, torch.inf)
    scale = temperature or 1.0

    def terms(tile: Tile) -> dict[str, torch.Tensor]:
        negative = tile.fill_positive(tile.scores, -torch.inf)
        found = {"above": (negative > tile.rows["limit"]).to(tile.scores.dtype), "all": negative.isfinite().to(tile.scores.dtype)}
        if "owner" in tile.cols:
            mine = tile.cols["owner"] == tile.row_index
            found |= {f"own_{name}": term * mine for name, term in found.items()}
        return {**found, "logits": tile.scores / scale, "wrong": negative / scale}

    counted = ("above", "all") if owner is None else ("above", "all", "own_above", "own_all")
    wanted: dict[str, Any] = {name: Count("rows", of=name) for name in counted}
    if temperature is not None:
        wanted |= {"total": LogSumExp("rows", of="logits"), "wrong": Max("rows", of="wrong")}
    stats = vars(reduce(terms, replace(some, rows={"limit": limit}), **wanted))
    count = {name: int(stats[name][known].sum()) for name in counted}
    if owner is not None and count["own_all"]:
        found["own_above"] = count["own_above"] / count["own_all"]
    if rest := count["all"] - count.get("own_all", 0):
        found["negatives_above"] = (count["above"] - count.get("own_above", 0)) / rest
    if temperature is not None:
        found["sure_and_wrong"] = float(((stats["wrong"] - stats["total"]).exp() > _SURE)[known].float().mean())
    return found


def of_the_plane(pairs: Pairs, rows: slice) -> dict[str, float]:
    """Alignment of these rows with their positives and uniformity of their queries, where each has one positive and a side is
    one vector an item."""
    offset, queries, keys = pairs.positive.offset, pairs.queries, pairs.keys
    if offset is None or pairs.ring is not None or not (isinstance(queries, torch.Tensor) and isinstance(keys, torch.Tensor)):
        return {}
    own, other = queries[rows], keys[rows.start + offset : rows.stop + offset]
    if own.shape != other.shape or own.dim() != 2 or len(own) < 2 or not bool((own != 0).any(1).all() and (other != 0).any(1).all()):
        return {}
    own, other = (torch.nn.functional.normalize(wide(side), dim=1) for side in (own, other))
    spread = (-2 * torch.pdist(own).square()).exp().mean().log()
    return {"alignment": float((own - other).square().sum(1).mean()), "uniformity": float(spread)}


def of_ids(meta: Mapping[str, torch.Tensor]) -> dict[str, float]:
    """From the content ids of a batch, where its view gives them."""
    found: dict[str, float] = {}
    queries, keys = meta.get("queries.id"), meta.get("keys.id")
    if queries is not None and (keys is None or len(keys) == len(queries)):
        rows = queries if keys is None else queries * _ODD + keys  # ids are hashes, and so are their mixtures
        _, which, count = torch.unique(rows, return_inverse=True, return_counts=True)
        found["copies"] = float((count[which] > 1).float().mean())
    owner, negatives = meta.get("negatives.owner"), meta.get("negatives.id")
    if queries is not None and keys is not None and owner is not None and negatives is not None and len(owner):
        groups = meta.get("keys.group", queries)  # the query each key answers, as content
        answers = set(zip(groups.tolist(), keys.tolist(), strict=True))
        asked = zip(queries[owner].tolist(), negatives.tolist(), strict=True)
        found["given_positive"] = sum(pair in answers for pair in asked) / len(owner)
    return found


def classes_of(pairs: Pairs) -> int:
    """How many labels the batch has; 0 where its rows have none."""
    labels = pairs.rows.get("label")
    return 0 if labels is None or "label" not in pairs.cols or leading(pairs.queries) is not leading(pairs.keys) else len(labels.unique())
