"""A collection as a map: a sample of its documents as points in the plane, and the regions they fall into.

The plane is that of two principal components, or of UMAP where the extra ``map`` is installed and asked for. Regions are k-means
of the vectors themselves, not of the plane, so that they mean the same on both; each is named by the words that set it apart.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from dipole.report.maps import flat
from dipole.search import table as tables
from dipole.search.collection import Collection
from dipole.search.documents import Document
from dipole.serve.page.excerpt import COMMON, stem, title_of

MOST_POINTS = 5000
LEAST = 3  # points that make a map
_REGIONS, _ROUNDS, _MIDDLE, _WORDS = 10, 25, 5, 3
_WORD = re.compile(r"[^\W\d_]{3,}(?:-[^\W\d_]{3,})*")
_COLUMNS = [*tables.FIELDS, "vector"]


@dataclass(frozen=True)
class Region:
    """Points that belong together: a name, how many, where their middle is, and (id, title) of those nearest to it."""

    name: str
    count: int
    x: float
    y: float
    middle: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Atlas:
    """``points``: x and y from -1 to 1, the region's number, id, title, tags, day (or null); ``about`` what the axes are."""

    about: str
    regions: tuple[Region, ...]
    points: tuple[tuple[Any, ...], ...]

    def json(self) -> dict[str, Any]:
        """As the script on the page takes it."""
        regions = [{"name": r.name, "count": r.count, "x": r.x, "y": r.y} for r in self.regions]
        return {"about": self.about, "regions": regions, "points": [list(point) for point in self.points]}


def draw(collection: Collection, how: str = "pca", most: int = MOST_POINTS) -> Atlas:
    """The map of a collection, of at most ``most`` documents, taken evenly from all of it. The same collection, the same map."""
    documents, vectors = _sample(collection, most)
    if len(documents) < LEAST:
        return Atlas("", (), ())
    plane, axes = flat(vectors, how)
    plane = plane - (plane.amax(0) + plane.amin(0)) / 2
    plane = plane / plane.abs().max().clamp_min(1e-12)
    unit = torch.nn.functional.normalize(vectors, dim=1)
    home = _regions(unit, min(_REGIONS, max(1, round(math.sqrt(len(documents) / 3)))))
    about = axes + (f"; {len(documents):,} of {len(collection):,} documents" if len(documents) < len(collection) else "")
    regions = _described(documents, unit, plane, home)
    rounded = [(round(x, 4), round(y, 4)) for x, y in plane.tolist()]
    points = tuple(
        (x, y, region, d.id, title_of(d)[:120], list(d.tags[:6]), d.date.isoformat() if d.date else None)
        for (x, y), region, d in zip(rounded, home.tolist(), documents, strict=True)
    )
    return Atlas(about, regions, points)


def _sample(collection: Collection, most: int) -> tuple[list[Document], torch.Tensor]:
    rows = len(collection)
    if not rows:
        return [], torch.zeros(0, 1)
    offsets = [rows * i // min(rows, most) for i in range(min(rows, most))]
    held = collection.table.take_offsets(offsets).select(_COLUMNS).to_arrow().combine_chunks()
    documents = [tables.document(row) for row in held.select(list(tables.FIELDS)).to_pylist()]
    order = sorted(range(len(documents)), key=lambda i: documents[i].id)
    vectors = tables.matrix(held.column("vector").combine_chunks())
    return [documents[i] for i in order], vectors[order]


def _regions(unit: torch.Tensor, k: int, seed: int = 0) -> torch.Tensor:
    """(n, d) unit vectors -> (n,) which of k regions: k-means by the cosine, begun by k-means++; regions in order of size."""
    generator = torch.Generator().manual_seed(seed)
    centres = unit[torch.randint(len(unit), (1,), generator=generator)]
    while len(centres) < k:
        far = (1 - (unit @ centres.T).amax(1)).clamp_min(0)
        if float(far.sum()) <= 1e-6 * len(unit):
            break
        centres = torch.cat([centres, unit[torch.multinomial(far, 1, generator=generator)]])
    home = (unit @ centres.T).argmax(1)
    for _ in range(_ROUNDS):
        sums = torch.zeros_like(centres).index_add_(0, home, unit)
        centres = torch.where(sums.norm(dim=1, keepdim=True) > 0, torch.nn.functional.normalize(sums, dim=1), centres)
        now = (unit @ centres.T).argmax(1)
        if bool((now == home).all()):
            break
        home = now
    counts = torch.bincount(home, minlength=len(centres))
    order = sorted((i for i in range(len(centres)) if counts[i] > 0), key=lambda i: -int(counts[i]))
    number = torch.full((len(centres),), -1)
    number[order] = torch.arange(len(order))
    return number[home]


def _described(documents: Sequence[Document], unit: torch.Tensor, plane: torch.Tensor, home: torch.Tensor) -> tuple[Region, ...]:
    names = _names(documents, home.tolist())
    found = []
    for number, name in enumerate(names):
        inside = (home == number).nonzero().flatten()
        nearness = unit[inside] @ unit[inside].sum(0)
        middle = [documents[int(i)] for i in inside[nearness.argsort(descending=True, stable=True)][:_MIDDLE]]
        x, y = plane[inside].median(0).values.tolist()
        found.append(Region(name, len(inside), round(x, 4), round(y, 4), tuple((d.id, title_of(d)) for d in middle)))
    return tuple(found)


def _names(documents: Sequence[Document], home: Sequence[int]) -> list[str]:
    """A few words for each region, of its titles where most have one: frequent in it (share p of its documents), rare elsewhere
    (share q of all): the largest p log(p / q).
    """
    titled = sum(bool(d.title) for d in documents) * 2 > len(documents)
    inside: list[Counter[str]] = [Counter() for _ in range(max(home) + 1)]
    forms: dict[str, Counter[str]] = {}
    for document, number in zip(documents, home, strict=True):
        words = {
            stem(word): word for word in _WORD.findall(document.title if titled else document.text[:600]) if word.lower() not in COMMON
        }
        inside[number].update(words.keys())
        for root, word in words.items():
            forms.setdefault(root, Counter())[word.lower() if word[1:].islower() else word] += 1
    sizes = Counter(home)
    everywhere: Counter[str] = Counter()
    for counter in inside:
        everywhere.update(counter)
    names = []
    for number, counter in enumerate(inside):

        def apart(root: str, counter: Counter[str] = counter, size: int = sizes[number]) -> float:
            p, q = counter[root] / size, (everywhere[root] + 1) / (len(documents) + 1)
            return p * math.log(p / q)

        best = sorted((root for root, count in counter.items() if count > 1 or sizes[number] == 1), key=lambda root: (-apart(root), root))
        names.append(", ".join(forms[root].most_common(1)[0][0] for root in best[:_WORDS]) or f"region {number + 1}")
    return names
