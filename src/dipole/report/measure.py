"""Every diagnostic that the vectors at hand allow, as one dictionary of plain values, and the arrays that pictures need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from dipole import diagnostics
from dipole.core.errors import DataError
from dipole.core.pairs import Pairs
from dipole.diagnostics.vectors import unit
from dipole.pairwise import max_rows
from dipole.report.inputs import Vectors
from dipole.views.ids import content_ids

PAIRS_ROWS = 2000  # rows that are held against all others, where exact would take the square
BATCH = 512  # pairs on which temperatures are tried: those of a usual batch
NEIGHBOURS = 10


@dataclass(frozen=True, eq=False)
class Drawn:
    """What pictures need beside the values."""

    spectrum: torch.Tensor
    unique: torch.Tensor  # places of the anchors that differ in content
    occurrences: torch.Tensor | None = None
    similarities: Any = None
    given: tuple[int, ...] = ()  # counts of the given negatives' cosines, in the bins of ``similarities``
    notes: list[str] = field(default_factory=list)


def measure(seen: Vectors, seed: int = 0) -> tuple[dict[str, Any], Drawn]:
    """What can be measured is; what cannot is None, with the reason among the notes."""
    notes: list[str] = []
    ids = content_ids(seen.of(seen.items.anchors))
    unique = _firsts(ids)
    x = seen.anchors[unique].float()
    n, d = x.shape

    def tried(what: str, work: Callable[[], Any]) -> Any:
        try:
            return work()
        except DataError as error:
            notes.append(f"{what} is undefined here: {error}")
            return None

    if n < 2:
        raise DataError("diagnose: all rows hold the same item, so there is nothing to compare", value=len(ids))
    uniformity = diagnostics.uniformity(x, rows=PAIRS_ROWS, seed=seed)
    spread = {
        "different": n,
        "dimension": d,
        "uniformity_error": uniformity.error,
        "anisotropy": diagnostics.anisotropy(x),
        "isotropic_rank": diagnostics.isotropic_rank(n, d),
        "stable_rank": diagnostics.stable_rank(x),
        "isoscore": tried("IsoScore", lambda: diagnostics.isotropy(x, corrected=False)),
        "partition_isotropy": diagnostics.partition_isotropy(unit("diagnose", x)),
    }
    occurrences = None
    if n >= 5 * NEIGHBOURS:
        spread["hubness"] = asdict(diagnostics.hubness(x, k=NEIGHBOURS, rows=2 * PAIRS_ROWS, seed=seed))
        some = x if n <= 2 * PAIRS_ROWS else x[torch.randperm(n, generator=torch.Generator().manual_seed(seed))[: 2 * PAIRS_ROWS]]
        occurrences = diagnostics.occurrences(some, k=NEIGHBOURS)
    pairs, similarities = _pairs(seen, ids, seed, tried) if seen.positives is not None else (None, None)
    values = {
        "alignment": None if pairs is None else pairs.pop("alignment"),
        "uniformity": float(uniformity),
        "effective_rank": tried("effective rank", lambda: diagnostics.effective_rank(x)),
        "isotropy": tried("isotropy", lambda: diagnostics.isotropy(x)),
        "vectors": spread,
        "pairs": pairs,
        "negatives": _negatives(seen) if seen.negatives is not None and len(seen.negatives) else None,
        "classes": _classes(seen, tried, seed),
        "surface": _surface(seen, tried, seed),
    }
    given = _given(seen, similarities)
    return values, Drawn(diagnostics.singular_values(x), unique, occurrences, similarities, given, notes)


def compare(first: Vectors, second: Vectors, seed: int = 0) -> dict[str, Any]:
    """Whether two models see the same items alike. Items that either gives a vector of 0 are left out."""
    places = [torch.arange(len(v.items.anchors)) if v.kept is None else v.kept for v in (first, second)]
    both = torch.tensor(sorted(set(places[0].tolist()) & set(places[1].tolist())), dtype=torch.int64)
    ids = content_ids([first.items.anchors[i] for i in both.tolist()])
    both = both[_firsts(ids)]
    x, y = (v.anchors[torch.searchsorted(p, both)].float() for v, p in zip((first, second), places, strict=True))
    if len(both) < 4:
        raise DataError("diagnose: comparing two models needs at least four different items", value=len(both))
    found: dict[str, Any] = {"items": len(both), "cka": diagnostics.cka(x, y), "cka_plain": diagnostics.cka(x, y, debiased=False)}
    if len(both) > NEIGHBOURS:
        shared = diagnostics.mutual_neighbours(x, y, k=NEIGHBOURS, rows=PAIRS_ROWS, seed=seed)
        found |= {"mutual_neighbours": float(shared), "mutual_neighbours_error": shared.error}
        found["mutual_neighbours_by_chance"] = NEIGHBOURS / (len(both) - 1)
    if second.positives is not None and len(second.anchors) > 1:
        found["false_negatives_by_second"] = asdict(diagnostics.false_negatives_by_teacher(_aligned(second)))
    return found


def _pairs(seen: Vectors, ids: torch.Tensor, seed: int, tried: Callable[[str, Callable[[], Any]], Any]) -> tuple[dict[str, Any], Any]:
    x, y = seen.anchors.float(), seen.positives
    assert y is not None
    y = y.float()
    gap = diagnostics.cosine_gap(x, y)
    similarities = diagnostics.similarities(x, y, rows=PAIRS_ROWS, seed=seed)
    pairs = _aligned(seen)
    hardest = max_rows(lambda tile: tile.fill_positive(tile.scores, -torch.inf), pairs)
    own = pairs.positive_scores()
    key_ids = content_ids(seen.of(seen.items.positives))
    found: dict[str, Any] = {
        "alignment": diagnostics.alignment(x, y),
        "pairs": len(x),
        **asdict(gap),
        "relative_alignment": (1 - gap.matched) / (1 - gap.random) if gap.random < 1 - 1e-6 else None,
        "overlap": similarities.overlap,
        "confused": float((hardest >= own).double().mean()),
        "uniformity_of_positives": float(diagnostics.uniformity(y[_firsts(key_ids)], rows=PAIRS_ROWS, seed=seed))
        if len(_firsts(key_ids)) > 1
        else None,
        "gap_between_sides": diagnostics.modality_gap(x, y),
        "repeated_anchors": _repeats(ids),
        "repeated_positives": _repeats(key_ids),
        "temperatures": None,
        "gradient_of_queries": None,
    }
    if len(x) >= 20:
        separable = diagnostics.modality_separability(x, y, seed=seed)
        found |= {"separability_of_sides": float(separable), "separability_error": separable.error}
    some = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))[:BATCH]
    if len(some) >= 3:
        found["temperatures"] = [asdict(at) for at in diagnostics.temperature_sensitivity(x[some], y[some])]
    if len(some) >= 8:
        found["gradient_of_queries"] = tried(
            "the gradient's share", lambda: diagnostics.gradient_share_of_queries(x[some], y[some], temperature=0.05)
        )
        found["gradient_share"] = tried(
            "the gradient's share by hardness", lambda: asdict(diagnostics.gradient_share(x[some], y[some], temperature=0.05, bins=20))
        )
    return found, similarities


def _aligned(seen: Vectors) -> Pairs:
    """Unit vectors of each row's pair; copies of an anchor or a positive are no negatives."""
    assert seen.positives is not None
    ids = [content_ids(seen.of(side)) for side in (seen.items.anchors, seen.items.positives)]
    x, y = unit("diagnose", seen.anchors.float()), unit("diagnose", seen.positives.float())
    return Pairs.aligned(x, y, query_ids=ids[0], key_ids=ids[1])


def _negatives(seen: Vectors) -> dict[str, Any]:
    assert seen.positives is not None and seen.negatives is not None and seen.owner is not None
    contrast = diagnostics.eci(seen.anchors.float(), seen.positives.float(), seen.negatives.float(), seen.owner)
    return {"given": len(seen.negatives), **asdict(contrast)}


def _classes(seen: Vectors, tried: Callable[[str, Callable[[], Any]], Any], seed: int) -> dict[str, Any] | None:
    if seen.items.labels is None:
        return None
    labels = seen.items.labels if seen.kept is None else seen.items.labels[seen.kept]
    sizes = torch.bincount(labels)
    often = (sizes >= 2)[labels]
    x, labels = seen.anchors.float()[often], labels[often]
    if len(labels.unique()) < 2:
        return None
    found: dict[str, Any] = {"classes": len(labels.unique()), "items": len(labels), "tolerance": diagnostics.tolerance(x, labels)}
    found["chance"] = float(torch.bincount(labels).max()) / len(labels)
    found["neural_collapse"] = tried("neural collapse", lambda: asdict(diagnostics.neural_collapse(x, labels)))
    if len(labels) >= 20:
        separable = diagnostics.separability(x, labels, rows=PAIRS_ROWS, seed=seed)
        found |= {"separability": float(separable), "separability_error": separable.error}
    return found


def _surface(seen: Vectors, tried: Callable[[str, Callable[[], Any]], Any], seed: int) -> dict[str, Any] | None:
    """Bias by length and shared words: of pairs with a gold similarity where there is one, else of strangers, whose similarity is low."""
    texts = seen.of(seen.items.anchors)
    if not all(isinstance(text, str) for text in texts) or len(texts) < 20:
        return None
    gold = seen.items.gold if seen.kept is None or seen.items.gold is None else seen.items.gold[seen.kept]
    if gold is not None and seen.positives is not None:
        x, y, others = seen.anchors, seen.positives, seen.of(seen.items.positives)
        among = "pairs, gold similarity held fixed"
    else:
        order = torch.randperm(len(texts), generator=torch.Generator().manual_seed(seed))
        partner = torch.empty_like(order)
        partner[order] = order.roll(1)  # nobody is their own partner
        x, y, others, gold, among = seen.anchors, seen.anchors[partner], [texts[i] for i in partner.tolist()], None, "random pairs"
    cosines = (unit("diagnose", x.float()) * unit("diagnose", y.float())).sum(1)
    first, second = (torch.tensor([len(text.split()) for text in side]) for side in (texts, others))
    found = {
        "among": among,
        "length": tried("length bias", lambda: asdict(diagnostics.length_bias(cosines, first, second, gold))),
        "overlap": tried("overlap bias", lambda: asdict(diagnostics.overlap_bias(cosines, diagnostics.word_overlap(texts, others), gold))),
    }
    return found if found["length"] or found["overlap"] else None


def _given(seen: Vectors, similarities: Any) -> tuple[int, ...]:
    """The histogram of the given negatives' cosines."""
    if similarities is None or seen.negatives is None or not len(seen.negatives) or seen.owner is None:
        return ()
    cosines = (unit("diagnose", seen.anchors.float())[seen.owner] * unit("diagnose", seen.negatives.float(), 1)).sum(1)
    edges = torch.tensor(similarities.edges)
    places = torch.bucketize(cosines, edges[1:-1])  # those beyond either end count there
    return tuple(torch.bincount(places, minlength=len(edges) - 1).tolist())


def _firsts(ids: torch.Tensor) -> torch.Tensor:
    """Places of the first item of each content, ascending."""
    _, which = ids.unique(return_inverse=True)
    first = torch.full((int(which.max()) + 1,), len(ids)).scatter_reduce_(0, which, torch.arange(len(ids)), "amin")
    return first.sort().values


def _repeats(ids: torch.Tensor) -> float:
    """The share of rows whose content another row has, too."""
    _, which, counts = ids.unique(return_inverse=True, return_counts=True)
    return float((counts[which] > 1).double().mean())
