"""Flow prior: vectors come to be distributed like given ones, by the loss of a flow that was trained on those and then frozen.

    early:  R = mean_i |v((1 - t) x0 + t x_i, t) - (x_i - x0)|^2       v learns, on targets x
    later:  R = mean_i |v((1 - t) x0 + t y_i, t) - (y_i - x0)|^2       y learns, v is frozen        t uniform in 0 .. 1, x0 standard normal

Shapes: y (B, d) are ``pooled`` of side ``of``; x those of side ``like`` for the first ``warmup`` steps, without a gradient; one (t, x0) an
item and step. A target space of another dimension D is brought to d by a fixed random matrix with entries of variance 1 / D. v:
``depth`` layers of ``hidden`` units with SiLU. Source: "Aligning Latent Spaces with Flow Priors" (L_FM and L_align): -R bounds the
targets' log-density at y from below, up to a factor and a divergence that is left out. Relation: uniformity knows one shape only.
Alone it draws all y to where targets are densest: keep a contrastive or reconstruction term beside it.
Errors: DataError where a side is missing or has another dimension.

>>> from dipole.core.encoded import Encoded
>>> FlowPrior(dimension=2, of="queries", like="queries").over_encoded({"queries": Encoded(torch.zeros(3, 2))}).shape
torch.Size([])
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import torch
from torch import nn
from torch.func import functional_call

from dipole.core.chance import Chance
from dipole.core.encoded import Encoded
from dipole.core.errors import DataError
from dipole.core.part import at_least, part, words
from dipole.core.vectors import wide

__all__ = ["FlowPrior"]


@part
class FlowPrior(nn.Module):
    """Rectified flow: trained on targets, then a loss for vectors."""

    dimension: int = at_least(1, about="d, of the vectors that are shaped")
    target: int = at_least(0, 0, "D, of the targets; 0: also d")
    of: str = words("queries", "the side whose vectors are shaped")
    like: str = words("keys", "the side whose vectors are the targets")
    warmup: int = at_least(0, 1000, "steps in which the flow learns the targets; afterwards it is frozen")
    hidden: int = at_least(1, 256, "units a layer")
    depth: int = at_least(1, 3, "hidden layers")

    reads = ("pooled",)

    def __post_init__(self) -> None:
        widths = [self.dimension + 1, *[self.hidden] * self.depth]
        layers = [m for a, b in itertools.pairwise(widths) for m in (nn.Linear(a, b), nn.SiLU())]
        self.velocity = nn.Sequential(*layers, nn.Linear(self.hidden, self.dimension))
        self.chance = Chance()
        wide_target = self.target or self.dimension
        fixed = torch.randn(wide_target, self.dimension, generator=self.chance.next()) / wide_target**0.5
        self.register_buffer("projection", torch.eye(self.dimension) if wide_target == self.dimension else fixed)

    def over_encoded(self, sides: Mapping[str, Encoded]) -> torch.Tensor:
        """Scalar, float32 or better."""
        learning = int(self.chance.get_buffer("drawn")) <= self.warmup
        if learning:
            x = self._side(sides, self.like, self.target or self.dimension).detach() @ self.get_buffer("projection")
            return self.flow_loss(x, dict(self.velocity.named_parameters()))
        frozen = {name: p.detach() for name, p in self.velocity.named_parameters()}
        return self.flow_loss(self._side(sides, self.of, self.dimension), frozen)

    def flow_loss(self, ends: torch.Tensor, weights: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Scalar: how badly the field of these weights leads from noise to ``ends`` (n, d)."""
        chance = self.chance.next()
        t, x0 = (make(len(ends), width, generator=chance).to(ends) for make, width in ((torch.rand, 1), (torch.randn, self.dimension)))
        found: torch.Tensor = functional_call(self.velocity, dict(weights), (torch.cat([(1 - t) * x0 + t * ends, t], 1),))
        return (found - (ends - x0)).square().sum(1).mean()

    def _side(self, sides: Mapping[str, Encoded], name: str, dimension: int) -> torch.Tensor:
        if name not in sides:
            raise DataError(f"FlowPrior: there is no side {name!r}; there are {', '.join(sides)}", remedy="set of and like")
        vectors = wide(sides[name].pooled)
        if vectors.shape[1] != dimension:
            raise DataError(f"FlowPrior: vectors of {name} must have {dimension} dimensions", value=vectors.shape[1])
        return vectors
