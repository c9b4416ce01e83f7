"""What an evaluation found: figures, what they mean, intervals, per-item values, counts and the rules they were computed by."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dipole.core.extras import need
from dipole.core.files import written_whole


def rows_file(task: str) -> str:
    """The name of a task's Parquet file: what a file name may not hold becomes an underscore.

    >>> rows_file("sts:data/dev.tsv")
    'sts_data_dev.tsv.parquet'
    """
    return (re.sub(r"[^\w.@-]+", "_", task).strip("_") or "task") + ".parquet"


@dataclass(frozen=True, eq=False)
class Result:
    """``metrics`` name -> figure · ``intervals`` name -> (low, high), 95% · ``definition`` name -> what it is, in words ·
    ``per_item`` column -> values, one an item, of which there are ``counts[unit]`` · ``counts`` what was seen and left out ·
    ``policy`` the rules in words · ``primary`` the metric to choose models by.
    """

    task: str
    kind: str
    primary: str
    metrics: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    definition: Mapping[str, str]
    per_item: Mapping[str, Any]
    unit: str
    counts: Mapping[str, int]
    policy: Mapping[str, str]
    seed: int = 0
    notes: tuple[str, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """``{"ndcg@10": 0.64, ..., "primary_metric": "ndcg@10", "interval": {"ndcg@10": [0.60, 0.68], ...}, ...}``."""
        return {
            **self.metrics,
            "kind": self.kind,
            "primary_metric": self.primary,
            "interval": {name: list(bounds) for name, bounds in self.intervals.items()},
            "definition": dict(self.definition),
            "unit": self.unit,
            "counts": dict(self.counts),
            "policy": dict(self.policy),
            "seed": self.seed,
            "notes": list(self.notes),
        }

    def write_per_item(self, folder: Path) -> Path:
        """One row an item, as Parquet, in ``folder``; written whole or not at all."""
        arrow = need("pyarrow", "evaluate", "per-item Parquet")
        parquet = need("pyarrow.parquet", "evaluate", "per-item Parquet")
        folder.mkdir(parents=True, exist_ok=True)
        place = folder / rows_file(self.task)
        with written_whole(place) as temporary:
            parquet.write_table(arrow.table(dict(self.per_item)), temporary)
        return place
