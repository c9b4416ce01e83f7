"""Out-of-domain detection: can the encoder tell that an item is unlike what it knows?

Three scores of how in-domain an item is, all from a reference set of known items: the largest cosine; the cosine of the k-th
nearest (Sun et al. 2022); minus the Mahalanobis distance to the nearest class mean under one shared covariance (Lee et al. 2018),
shrunk as Ledoit and Wolf do, so that it exists for fewer items than dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from dipole.core.errors import DataError, UsageError
from dipole.core.extras import need
from dipole.core.part import at_least, between, part
from dipole.evaluate.binary import Scored
from dipole.evaluate.bootstrap import Floats, weighted_intervals
from dipole.evaluate.kind import SAMPLES, result
from dipole.evaluate.labelled import codes_of, shown
from dipole.evaluate.result import Result
from dipole.evaluate.table import find_split, read_table
from dipole.evaluate.vectors import Encode, Sides
from dipole.pairwise.scores.neg_squared_distance import NegSquaredDistance
from dipole.pairwise.topk import topk_search

__all__ = ["OutOfDomain"]

_FILES: Mapping[str, tuple[str, ...]] = {"reference": ("reference", "train"), "inside": ("in", "test"), "outside": ("out", "ood")}


@dataclass(frozen=True, eq=False)
class DomainTask:
    """``reference`` known items, with ``labels`` where they have classes; ``inside`` new items of the same domain; ``outside`` others."""

    name: str
    reference: Sequence[Any]
    inside: Sequence[Any]
    outside: Sequence[Any]
    labels: Sequence[str] | None = None


@part
class OutOfDomain:
    """Known and foreign items: does distance from known ones tell foreign ones?"""

    neighbours: int = at_least(1, 10, "k of the k-th nearest known item")
    accepted: float = between(0.5, 1.0, 0.95, "share of in-domain items accepted where false acceptances are counted")

    files: ClassVar[str] = "FOLDER of reference.* (text, and label where there are classes), in.* and out.* (text)"
    unit: ClassVar[str] = "items"
    two_sided: ClassVar[bool] = False
    primary: ClassVar[str] = "auroc_max_cosine"
    policy: ClassVar[Mapping[str, str]] = {
        "positive": "in-domain; a higher score means more in-domain",
        "mahalanobis": "class means where reference items have labels of two or more classes, else one mean; Ledoit-Wolf covariance",
        "ties": "equal scores count half in AUROC and are accepted together",
        "interval": "95% percentile bootstrap over in-domain and foreign items separately, the reference held fixed",
    }

    def definitions(self) -> dict[str, str]:
        ways = {
            "max_cosine": "the largest cosine to a known item",
            "knn": f"the cosine of the {self.neighbours}-th nearest known item",
            "mahalanobis": "minus the Mahalanobis distance to the nearest class mean of the known items",
        }
        found = {f"auroc_{way}": f"share of (in-domain, foreign) pairs that {text} puts in the right order" for way, text in ways.items()}
        level = f"{self.accepted:.0%}"
        return found | {
            f"fpr@{self.accepted * 100:g}_{way}": f"share of foreign items accepted by {text} where {level} of in-domain ones are"
            for way, text in ways.items()
        }

    def read(self, place: str, name: str = "") -> DomainTask:
        folder = Path(place).expanduser()
        if not folder.is_dir():
            raise UsageError(f"{folder}: no such folder; give one that holds reference.*, in.* and out.*")
        tables = {}
        for role, names in _FILES.items():
            file = find_split(folder, names)
            if file is None:
                raise UsageError(f"{folder}: the folder must hold {names[0]}.jsonl (or .csv, .tsv, .txt, .parquet)")
            tables[role] = read_table(file)
        known = tables["reference"]
        texts = {role: table.texts("anchor") for role, table in tables.items()}
        labels = known.labels() if known.has("label") else None
        return DomainTask(name or place, texts["reference"], texts["inside"], texts["outside"], labels)

    def __call__(
        self, task: DomainTask, encode: Encode, encode_keys: Encode | None = None, *, seed: int = 0, samples: int = SAMPLES
    ) -> Result:
        """Raises DataError where a set is empty or fewer than two reference items exist."""
        sides = Sides(encode)
        if len(task.reference) < 2:
            raise DataError(f"task {task.name}: there must be at least two reference items", value=len(task.reference))
        known = sides.queries(task.reference, "reference items")
        asked = torch.cat([sides.queries(task.inside, "in-domain items"), sides.queries(task.outside, "foreign items")])
        inside = np.arange(len(asked)) < len(task.inside)
        top = topk_search(asked, known, k=min(self.neighbours, len(known))).values
        scores: dict[str, Floats] = {
            "max_cosine": top[:, 0].double().numpy(),
            "knn": top[:, -1].double().numpy(),
            "mahalanobis": -mahalanobis(known, task.labels, asked),
        }
        ranked = {way: Scored(values, inside) for way, values in scores.items()}

        def figures(weights: Floats | None) -> dict[str, Floats]:
            curves = {way: one.curve(weights) for way, one in ranked.items()}
            found = {f"auroc_{way}": curve.auroc() for way, curve in curves.items()}
            return found | {f"fpr@{self.accepted * 100:g}_{way}": curve.fpr_at(self.accepted) for way, curve in curves.items()}

        metrics = {name: float(values[0]) for name, values in figures(None).items()}
        sizes = [len(task.inside), len(task.outside)]
        columns: dict[str, Any] = {"item": shown([*task.inside, *task.outside]), "in_domain": inside.tolist(), **scores}
        counts = {"items": len(asked), "inside": sizes[0], "outside": sizes[1], "reference": len(known)}
        notes = (
            () if len(known) >= self.neighbours else (f"only {len(known)} reference items: the last of them stands for the k-th nearest",)
        )
        return result(self, task.name, sides, metrics, weighted_intervals(sizes, figures, seed, samples), columns, counts, seed, notes)


def mahalanobis(known: torch.Tensor, labels: Sequence[str] | None, asked: torch.Tensor) -> Floats:
    """(N,) distance to the nearest class mean of the known vectors, under their shrunk within-class covariance."""
    covariance = need("sklearn.covariance", "evaluate", "Mahalanobis distances")
    names = sorted(set(labels or ()))
    codes = codes_of(labels or [""] * len(known), names or [""])
    vectors = known.double()
    place = torch.from_numpy(codes)
    count = torch.bincount(place, minlength=max(1, len(names))).double()
    means = torch.zeros(len(count), vectors.shape[1], dtype=torch.float64).index_add_(0, place, vectors) / count[:, None]
    shared, _ = covariance.ledoit_wolf((vectors - means[place]).numpy(), assume_centered=True)
    shared = torch.from_numpy(shared)
    scale = float(shared.diagonal().mean())
    shared = shared + torch.eye(len(shared), dtype=torch.float64) * max(scale * 1e-9, 1e-12)  # equal vectors have no covariance
    factor = torch.linalg.cholesky(shared)
    white = [torch.linalg.solve_triangular(factor, x.T, upper=False).T.contiguous() for x in (asked.double(), means)]
    nearest = topk_search(white[0], white[1], k=1, score=NegSquaredDistance()).values[:, 0]
    found: Floats = nearest.neg().clamp_min(0.0).sqrt().numpy()
    return found
