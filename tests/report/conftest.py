"""A browser, and encoders that need no weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.browser import browser as browser


class Table:
    """Items that are numbers' names -> vectors given beforehand; keys get ``keys``, everything else ``vectors``."""

    def __init__(self, vectors: torch.Tensor, keys: torch.Tensor | None = None) -> None:
        self.vectors, self.keys, self.asked = vectors, vectors if keys is None else keys, 0

    def encode(self, items: Sequence[Any], batch_size: int = 32, progress: bool = False, side: str = "") -> torch.Tensor:
        self.asked += len(items)
        table = self.keys if side == "keys" else self.vectors
        return table[torch.tensor([int(item.split()[0]) for item in items])]


def rows_of(count: int, **columns: Sequence[Any]) -> list[dict[str, Any]]:
    """Pairs ``i`` with ``i``, their words' number differing, and further columns."""
    return [
        {"anchor": f"{i} " + "w " * (i % 5), "positive": f"{i} answer " + "w " * (i % 3), **{k: v[i] for k, v in columns.items()}}
        for i in range(count)
    ]


def spread(n: int, d: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a tiny encoder on pairs, with checkpoints, and its data beside it as ``pairs.jsonl``."""
    import json
    import math

    from dipole.assembly.build import build
    from dipole.assembly.spec import load
    from dipole.modality.toy.rows.sentences import Sentences
    from dipole.train.doctor.watch import Doctor
    from dipole.train.run import train

    home = tmp_path_factory.mktemp("run")
    lines = [json.dumps({key: row[key] for key in ("anchor", "positive")}) for row in Sentences(count=120)]
    (home / "pairs.jsonl").write_text("\n".join(lines) + "\n")
    (home / "small.toml").write_text(
        f"""schema = 1
[parts]
rows = {{ use = "file", path = "{home / "pairs.jsonl"}" }}
views = {{ use = "aligned" }}
encoder = {{ use = "toy.bag", dimension = 16 }}
losses = [{{ use = "infonce", temperature = 0.1 }}]
step = {{ batch_size = 32, max_steps = 60, learning_rate = 0.01, save_steps = 20 }}
"""
    )
    train(build(load(home / "small.toml")), home / "out", show=False, keep=9, doctor=Doctor(share=math.inf))  # every tenth step is read
    return home / "out"
