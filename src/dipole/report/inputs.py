"""What a report is about: a model by name, rows from a file, and the rows' items as vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from dipole.core.errors import DataError
from dipole.views.ids import content_ids


def open_data(path: Path, encoder: Any) -> Any:
    """The rows of a file; of a folder of images, or a file that names images, where the encoder sees those."""
    if type(encoder).__module__.startswith("dipole.modality.image."):
        from dipole.modality.image.rows.folder import Folder

        return Folder(path=str(path))
    from dipole.rows.open import open_rows

    return open_rows(path)


@dataclass(frozen=True)
class Options:
    """``sample`` rows looked at, drawn where there are more · ``batch_size`` items encoded at once · ``max_tokens`` texts are cut to,
    0 for the model's own limit · ``seed`` of every draw · ``how`` the map is made, ``pca`` or ``umap`` · ``progress`` a bar on stderr."""

    sample: int = 5000
    batch_size: int = 32
    max_tokens: int = 0
    seed: int = 0
    how: str = "pca"
    progress: bool = False


@dataclass(frozen=True, eq=False)
class Items:
    """N rows' items. ``numbers`` their places in the data, from 1 · ``positives`` one a row, or none at all · ``negatives`` of all rows
    with the row each belongs to · ``labels`` (N,) int64 with ``classes`` their names · ``gold`` (N,) a given similarity."""

    anchors: Sequence[Any]
    numbers: Sequence[int]
    positives: Sequence[Any] = ()
    negatives: Sequence[Any] = ()
    owner: torch.Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    labels: torch.Tensor | None = None
    classes: Sequence[str] = ()
    gold: torch.Tensor | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)
    of: int = 0  # rows the data has


def read_items(rows: Any, sample: int = 5000, seed: int = 0, captions: bool = True) -> Items:
    """The items of at most ``sample`` rows, drawn with ``seed``. A list of positives counts with its first.

    Rows without an anchor are left out; where some rows have a positive, those without are, too; both are counted. ``captions``: whether
    the encoder takes texts as positives of items that are none. Raises DataError where fewer than two rows are left.
    """
    length = len(rows)
    chosen: Sequence[int] = range(length)
    if length > sample:
        chosen = torch.randperm(length, generator=torch.Generator().manual_seed(seed))[:sample].sort().values.tolist()
    held = [(place + 1, rows[place]) for place in chosen]
    usable = [(number, row) for number, row in held if _present(row.get("anchor"))]
    left_out = {"rows without an anchor": len(held) - len(usable)}
    firsts = [_first(row.get("positive")) for _, row in usable]
    if not captions:
        firsts = [
            first if isinstance(first, str) == isinstance(row["anchor"], str) else None
            for first, (_, row) in zip(firsts, usable, strict=True)
        ]
    if any(_present(first) for first in firsts):
        paired = [pair for pair in zip(usable, firsts, strict=True) if _present(pair[1])]
        left_out["rows without a positive"] = len(usable) - len(paired)
        usable, firsts = [one for one, _ in paired], [first for _, first in paired]
    else:
        firsts = []
    if len(usable) < 2:
        raise DataError(f"diagnose: needs at least two usable rows, got {len(usable)} of {length}", remedy="say which column is the anchor")
    negatives = [_all(row.get("negative")) for _, row in usable] if firsts else []
    owner = [place for place, several in enumerate(negatives) for _ in several]
    labels, classes = _labels([row.get("label") for _, row in usable])
    return Items(
        anchors=[row["anchor"] for _, row in usable],
        numbers=[number for number, _ in usable],
        positives=firsts,
        negatives=[one for several in negatives for one in several],
        owner=torch.tensor(owner, dtype=torch.int64),
        labels=labels,
        classes=classes,
        gold=_gold([row.get("score") for _, row in usable]),
        left_out={reason: count for reason, count in left_out.items() if count},
        of=length,
    )


@dataclass(frozen=True, eq=False)
class Vectors:
    """Items as vectors: ``anchors`` (N, d), ``positives`` (N, d) or None, ``negatives`` (K, d) or None, rows whose vector is 0 left out."""

    items: Items
    anchors: torch.Tensor
    positives: torch.Tensor | None = None
    negatives: torch.Tensor | None = None
    owner: torch.Tensor | None = None
    kept: torch.Tensor | None = None  # the items' places that are here, None for all
    zero: int = 0
    cut: tuple[int, int, int] = (0, 0, 0)  # texts that were cut, of how many, to how many tokens

    def of(self, values: Sequence[Any]) -> list[Any]:
        """The entries of a list of the items that are here."""
        return list(values) if self.kept is None else [values[i] for i in self.kept.tolist()]


def encode_items(encoder: Any, items: Items, batch_size: int = 32, progress: bool = False) -> Vectors:
    """Every different item encoded once. Rows with a vector of 0 are left out and counted.

    Raises DataError for NaN or infinity, with the row's number, and where fewer than two rows are left.
    """

    def vectors(given: Sequence[Any], side: str, numbers: Sequence[int]) -> torch.Tensor:
        ids = content_ids(given)
        _, which = ids.unique(return_inverse=True)
        first = torch.full((int(which.max()) + 1,), len(given)).scatter_reduce_(0, which, torch.arange(len(given)), "amin")
        found: torch.Tensor = encoder.encode([given[i] for i in first.tolist()], batch_size=batch_size, progress=progress, side=side)[which]
        broken = (~torch.isfinite(found).all(1)).nonzero().flatten()
        if len(broken):
            rule = f"diagnose: row {numbers[int(broken[0])]}: the model's vector holds NaN or infinity, as {len(broken)} of {len(given)} do"
            raise DataError(
                rule, value=given[int(broken[0])], remedy="the model is broken: train it with a lower learning rate, or in float32"
            )
        return found

    counter = getattr(encoder, "truncated", None)
    if counter is not None:
        counter.reset()
    anchors = vectors(items.anchors, "queries" if items.positives else "", items.numbers)
    positives = vectors(items.positives, "keys", items.numbers) if items.positives else None
    negatives = vectors(items.negatives, "keys", [items.numbers[i] for i in items.owner.tolist()]) if items.negatives else None
    alive = (anchors != 0).any(1)
    alive = alive if positives is None else alive & (positives != 0).any(1)
    zero = int((~alive).sum())
    owner = items.owner if negatives is not None else None
    if negatives is not None:
        keep = (negatives != 0).any(1) & alive[items.owner]
        negatives, owner = negatives[keep], (alive.cumsum(0) - 1)[items.owner[keep]]
    if len(anchors) - zero < 2:
        raise DataError(
            f"diagnose: {zero} of {len(anchors)} rows have a vector of 0, and fewer than two are left", remedy="try another model"
        )
    kept = alive.nonzero().flatten() if zero else None
    cut = (0, 0, 0) if counter is None else (int(counter), counter.seen, counter.max_tokens)
    return Vectors(items, anchors[alive], None if positives is None else positives[alive], negatives, owner, kept, zero, cut)


def _present(value: Any) -> bool:
    return value is not None and not (isinstance(value, str) and not value.strip())


def _first(value: Any) -> Any:
    return next((one for one in value if _present(one)), None) if isinstance(value, (list, tuple)) else value


def _all(value: Any) -> list[Any]:
    return [one for one in (value if isinstance(value, (list, tuple)) else [value]) if _present(one)]


def _labels(given: Sequence[Any]) -> tuple[torch.Tensor | None, Sequence[str]]:
    """Labels as places in the sorted names; None where a row has none, or where they are not a few words or whole numbers."""
    if not all(isinstance(label, (str, int)) and not isinstance(label, bool) and label != "" for label in given):
        return None, ()
    names = sorted(set(given), key=lambda name: (isinstance(name, str), name))
    if not 2 <= len(names) <= len(given) // 2:
        return None, ()
    at = {name: place for place, name in enumerate(names)}
    return torch.tensor([at[label] for label in given]), [str(name) for name in names]


def _gold(given: Sequence[Any]) -> torch.Tensor | None:
    numbers = all(isinstance(score, (int, float)) and score == score for score in given)
    return torch.tensor([float(score) for score in given], dtype=torch.float64) if numbers and len(set(given)) > 1 else None
