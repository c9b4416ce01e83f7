"""An encoder from a folder, whatever kind of data it is for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dipole.core.extras import need
from dipole.modality.weights import part_of


def open_encoder(name: str | Path, max_tokens: int = 0) -> Any:
    """The encoder that a name stands for: a folder that an encoder's ``save`` wrote, a run folder (its ``model/``), a folder of
    transformers or sentence-transformers, ``minilm``, or the hub id of a text model. ``max_tokens``: of text encoders.

    Raises UsageError where there is none, CheckpointError where it is broken.
    """
    path = Path(name).expanduser()
    for folder in (path, path / "model"):
        for file in sorted(folder.glob("*.safetensors")) if folder.is_dir() else ():
            if part := _part_named_in(file):
                return part_of(part, file).load(folder)
        if (folder / "preprocessor_config.json").is_file() and not (folder / "modules.json").is_file():
            from dipole.modality.image.encoders.transformer import Transformer as ImageTransformer

            return ImageTransformer.load(folder)
    from dipole.modality.text.encoders.transformer import Transformer

    return Transformer(model=str(name), max_tokens=max_tokens)


def _part_named_in(file: Path) -> str:
    """What :func:`dipole.modality.weights.save` wrote into the file's head; empty for files of others."""
    safetensors: Any = need("safetensors", "train", "opening models")
    try:
        with safetensors.safe_open(file, framework="pt") as held:
            return str((held.metadata() or {}).get("part", ""))
    except safetensors.SafetensorError:
        return ""
