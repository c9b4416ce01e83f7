"""What an evaluation found: figures, intervals, per-query values, counts and the rules they were computed by."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dipole.core.extras import need


@dataclass(frozen=True, eq=False)
class Result:
    """``metrics`` name -> figure · ``intervals`` name -> (low, high), 95% bootstrap · ``per_query`` column -> values, one a
    query · ``counts`` what was seen and left out · ``policy`` the rules in words.
    """

    task: str
    kind: str  # "retrieval" or "sts"
    metrics: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    per_query: Mapping[str, Any]
    counts: Mapping[str, int]
    policy: Mapping[str, str]
    notes: tuple[str, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """``{"ndcg@10": 0.64, ..., "interval": {"ndcg@10": [0.60, 0.68], ...}, "counts": {...}, "policy": {...}}``."""
        return {
            **self.metrics,
            "interval": {name: list(bounds) for name, bounds in self.intervals.items()},
            "counts": dict(self.counts),
            "policy": dict(self.policy),
            "notes": list(self.notes),
        }

    def write_per_query(self, folder: Path) -> Path:
        """One row a query, as Parquet, in ``folder``; written whole or not at all."""
        arrow = need("pyarrow", "text", "per-query Parquet")
        parquet = need("pyarrow.parquet", "text", "per-query Parquet")
        folder.mkdir(parents=True, exist_ok=True)
        place = folder / (re.sub(r"[^A-Za-z0-9.@-]+", "_", self.task).strip("_") + ".parquet")
        temporary = place.with_name(f".{place.name}.{os.getpid()}")
        try:
            parquet.write_table(arrow.table(dict(self.per_query)), temporary)
            os.replace(temporary, place)
        finally:
            temporary.unlink(missing_ok=True)
        return place


def unit_vectors(encode: Any, texts: Any, what: str) -> Any:
    """(N, d) float32 of unit length. Raises DataError for vectors that are not finite or not one per text."""
    import torch

    from dipole.core.errors import DataError

    vectors = encode(list(texts))
    if not isinstance(vectors, torch.Tensor) or vectors.dim() != 2 or len(vectors) != len(texts):
        got = tuple(vectors.shape) if isinstance(vectors, torch.Tensor) else type(vectors).__name__
        raise DataError(f"encode must return one vector per text, a tensor ({len(texts)}, d), for {what}", value=got)
    vectors = vectors.detach().float().cpu()
    broken = (~torch.isfinite(vectors).all(dim=1)).nonzero().flatten()
    if len(broken):
        rule = f"{len(broken)} of {len(vectors)} vectors of the {what} hold NaN or infinity, the first is that of item {int(broken[0])}"
        raise DataError(
            rule, value=texts[int(broken[0])], remedy="the model is broken: train it with a smaller learning rate or in float32"
        )
    return torch.nn.functional.normalize(vectors, dim=-1)
