"""What every test has in common: no hub, one thread a worker, a fixed seed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two workers share two cores; threads of one only wait for the other's
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.pop("DIPOLE_TRACEBACK", None)


@pytest.fixture(autouse=True)
def _seed() -> None:
    import torch

    torch.manual_seed(0)


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """Public data sets laid beside the project; a test that needs them is skipped where they are not."""
    folder = Path(os.environ.get("DIPOLE_DATA") or Path(__file__).parents[1].parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no data sets at {folder}; set DIPOLE_DATA")
    return folder
