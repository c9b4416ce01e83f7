"""Two towers: one side of a pair is images, the other texts; both end in vectors of one length that can be compared.

    v_image = normalise(A f(image))      v_text = normalise(B g(text))      A, B linear, without bias

Shapes: d = ``dimension``; ``tokens`` (B, L, d) are the tower's tokens through the same A or B, with their ``mask``, and may
differ in number between the towers. Source: CLIP, arXiv:2103.00020, section 2.3; token scores: FILIP, arXiv:2111.07783.

A batch goes to the tower whose name its tensors carry (``image.pixels``, ``text.words``), so that gradient caching and DDP
see one module whose forward takes either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dipole.core.encoded import Encoded
from dipole.core.errors import DataError
from dipole.core.part import at_least, choice, inner, part
from dipole.modality import weights
from dipole.modality.image.encoders.conv import Conv
from dipole.modality.toy.encoders.bag import Bag

__all__ = ["TwoTowers"]
_FILE = "two_towers.safetensors"


@part
class TwoTowers(nn.Module):
    """Images and texts -> unit vectors of one space.

    ``encode`` also takes the side ``image`` or ``text``, or none: then ``str`` are texts (not paths), and all else images.
    """

    image: Any = inner("encoder", Conv, "the tower of images")
    text: Any = inner("encoder", Bag, "the tower of texts")
    dimension: int = at_least(1, 64, "d")
    image_side: str = choice(("queries", "keys"), "queries", "which side of the pairs is images")
    locked: str = choice(
        ("none", "image", "text", "both"), "none", "towers that keep their weights; projections learn (LiT, arXiv:2111.07991)"
    )

    def __post_init__(self) -> None:
        self.projections = nn.ModuleDict(
            {name: nn.Linear(tower.dimension, self.dimension, bias=False) for name, tower in self.towers.items()}
        )
        for name in self._still():
            self.towers[name].requires_grad_(False)
        self.train()

    def train(self, mode: bool = True) -> TwoTowers:
        """Train or evaluation mode; locked towers stay in evaluation mode."""
        super().train(mode)
        for name in self._still():
            self.towers[name].eval()
        return self

    def prepare(self, items: Sequence[Any], side: str = "queries") -> Mapping[str, torch.Tensor]:
        """The tensors of the side's tower, their names preceded by ``image.`` or ``text.``."""
        name = self._tower_of(items, side)
        return {f"{name}.{key}": tensor for key, tensor in self.towers[name].prepare(items, side).items()}

    def forward(self, inputs: Mapping[str, torch.Tensor]) -> Encoded:
        """The vectors of prepared inputs; those of a locked tower before its projection are ``meta["frozen"]``."""
        name, found = self.of_tower(inputs)
        project = self.projections[name]
        before = project(found.pooled if found.pre_norm is None else found.pre_norm)
        tokens = found.tokens if found.tokens is None or found.tokens.shape[-1] != project.in_features else project(found.tokens)
        meta = {"frozen": found.pooled} if name in self._still() else {}
        return Encoded(nn.functional.normalize(before, dim=-1), tokens, None if tokens is None else found.mask, before, meta=meta)

    def of_tower(self, inputs: Mapping[str, torch.Tensor]) -> tuple[str, Encoded]:
        """The name of the tower that prepared inputs are for, and what it says, before the projection."""
        name = next(iter(inputs)).split(".", 1)[0]
        found: Encoded = self.towers[name]({key.split(".", 1)[1]: tensor for key, tensor in inputs.items()})
        return name, found

    def encode(self, items: Sequence[Any], batch_size: int = 32, progress: bool = False, side: str = "") -> torch.Tensor:
        """(N, d) float32 on the CPU, dropout off. All items must belong to one side."""
        return weights.encode(self, items, batch_size, side, progress)

    @property
    def towers(self) -> dict[str, Any]:
        """Both, by name."""
        return {"image": self.image, "text": self.text}

    @property
    def truncated(self) -> Any:
        """How many texts the text tower cut."""
        return self.text.truncated

    @property
    def identity(self) -> str:
        """sha256 of both towers' identities, the projections and the settings that change a vector."""
        towers = [tower.identity for tower in self.towers.values()]
        return weights.identity(self.projections, [self.dimension, self.image_side, *towers])

    def save(self, folder: str | Path) -> Path:
        """Write ``image/``, ``text/`` as the towers do and the projections beside them."""
        place = Path(folder)
        for name, tower in self.towers.items():
            tower.save(place / name)
        settings = {"dimension": self.dimension, "image_side": self.image_side, "locked": self.locked}
        settings |= {name: weights.name_of(tower) for name, tower in self.towers.items()}
        return weights.save(self.projections, place, _FILE, settings, self)

    @classmethod
    def load(cls, folder: str | Path) -> TwoTowers:
        """What :meth:`save` wrote. Raises CheckpointError where it is not there or broken."""
        tensors, settings = weights.read(folder, _FILE, "image.two_towers")
        for name in ("image", "text"):
            settings[name] = weights.part_of(settings[name], folder).load(Path(folder) / name)
        made = cls(**settings)
        made.projections.load_state_dict(tensors)
        return made

    def _still(self) -> tuple[str, ...]:
        """The names of the locked towers."""
        return {"none": (), "both": ("image", "text")}.get(self.locked, (self.locked,))

    def _tower_of(self, items: Sequence[Any], side: str) -> str:
        if side in ("image", "text"):
            return side
        if side in ("queries", "keys", "negatives"):
            return "image" if (side == "queries") == (self.image_side == "queries") else "text"
        kinds = {"text" if isinstance(item, str) else "image" for item in items} or {"image"}
        if len(kinds) > 1:
            raise DataError(f"image.two_towers: the items of {side or 'one call'} must all be texts or all be images")
        return kinds.pop()
