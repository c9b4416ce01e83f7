"""What encoders made of plain torch share: weights and settings in one safetensors file, an identity, encoding in batches."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import nn

from dipole.core.errors import CheckpointError
from dipole.core.extras import need
from dipole.core.part import is_part, schema

# What a transformers configuration says that changes no vector.
INCIDENTAL = {"_name_or_path", "transformers_version", "dtype", "torch_dtype", "use_cache", "architectures", "gradient_checkpointing"}


class Plain(nn.Module):
    """The rest of an encoder that is one module with weights and parameters: encoding, identity, and a file named after its module."""

    incidental: ClassVar[tuple[str, ...]] = ()  # parameters that change no vector

    def encode(self, items: Sequence[Any], batch_size: int = 32, progress: bool = False, side: str = "") -> torch.Tensor:
        """(N, d) float32 on the CPU, as in evaluation: without dropout and other chance."""
        return encode(self, items, batch_size, side or "queries", progress)

    @property
    def identity(self) -> str:
        """sha256 of the weights' bytes and the settings that change a vector."""
        return identity(self, settings_of(self) | dict.fromkeys(self.incidental))

    def save(self, folder: str | Path) -> Path:
        """Write weights and settings into ``folder``, for :meth:`load`."""
        return save(self, folder, self._named()[0])

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """What :meth:`save` wrote. Raises CheckpointError where it is not there or broken."""
        made: Self = load(cls, folder, *cls._named())
        return made

    @classmethod
    def _named(cls) -> tuple[str, str]:
        """The file, and the part's name in a recipe: ``image.vit`` of ``dipole.modality.image.encoders.vit``."""
        words = cls.__module__.split(".")
        return f"{words[-1]}.safetensors", f"{words[2]}.{words[-1]}"


def settings_of(module: Any) -> dict[str, Any]:
    """The values of a part's parameters."""
    return {p.name: getattr(module, p.name) for p in schema(type(module))}


def save(module: nn.Module, folder: str | Path, file: str, settings: Any = None, part: object = None) -> Path:
    """Write weights and settings into ``folder/file``, whole or not at all; the folder.

    ``part``: whose :meth:`load` reads it, and ``settings``: what it needs; left out: the module and its parameters.
    """
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    tensors = need("safetensors.torch", "train", "saving an encoder")
    temporary = place / f".{file}"
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
    said = json.dumps(settings_of(module) if settings is None else settings)
    tensors.save_file(weights, temporary, metadata={"part": name_of(part or module), "settings": said})
    temporary.replace(place / file)
    return place


def read(folder: str | Path, file: str, name: str) -> tuple[dict[str, torch.Tensor], Any]:
    """Weights and settings. Raises CheckpointError where they are not there or broken."""
    safetensors = need("safetensors", "train", f"loading {name}")
    try:
        with safetensors.safe_open(Path(folder) / file, framework="pt") as held:
            return {key: held.get_tensor(key) for key in held.keys()}, json.loads(held.metadata()["settings"])  # noqa: SIM118
    except Exception as error:
        raise CheckpointError(f"{folder}: no {name} can be read from here ({type(error).__name__}: {error})") from error


def load(cls: type, folder: str | Path, file: str, name: str) -> Any:
    """What :func:`save` wrote of a part. Raises CheckpointError where it is not there or broken."""
    tensors, settings = read(folder, file, name)
    try:
        module = cls(**settings)
        module.load_state_dict(tensors)
    except Exception as error:
        raise CheckpointError(f"{folder}: no {name} can be made from what is here ({type(error).__name__}: {error})") from error
    return module


def name_of(part: object) -> str:
    """The module and class a part is found by."""
    return f"{type(part).__module__}:{type(part).__name__}"


def part_of(name: str, where: str | Path) -> Any:
    """The class that :func:`name_of` names. Only encoders of dipole are looked up; CheckpointError for anything else."""
    module, _, cls = name.partition(":")
    found = None
    if re.fullmatch(r"dipole\.modality\.\w+\.encoders\.\w+", module):
        with contextlib.suppress(ImportError):
            found = getattr(importlib.import_module(module), cls, None)
    if not is_part(found):
        raise CheckpointError(f"{where}: names an encoder that this dipole does not have: {name!r}")
    return found


def identity(module: nn.Module, settings: Any) -> str:
    """sha256 of the weights' bytes and the settings that change a vector."""
    digest = hashlib.sha256(json.dumps(settings).encode())
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


@torch.no_grad()
def encode(encoder: Any, items: Sequence[Any], batch_size: int, side: str, progress: bool = False) -> torch.Tensor:
    """(N, d) float32 on the CPU, dropout off, in the order given."""
    training, device = encoder.training, next(encoder.parameters()).device
    starts: Any = range(0, len(items), batch_size)
    if progress:
        starts = need("tqdm", "train", "a progress bar").tqdm(starts, desc="encode", unit="batch", leave=False)
    encoder.eval()
    try:
        parts = []
        for start in starts:
            inputs = {name: t.to(device) for name, t in encoder.prepare(items[start : start + batch_size], side).items()}
            parts.append(encoder(inputs).pooled.float().cpu())
    finally:
        encoder.train(training)
    return torch.cat(parts) if parts else torch.empty(0, encoder.dimension)
