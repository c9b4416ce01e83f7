"""Noise: Gaussian vectors as further negatives, which push the vectors apart where no item lies.

    n_m ~ N(0, I), M = ratio N of them; then ``ascents`` times   n_m <- n_m + size g_m / |g_m|,  g = gradient of
    A = mean_i -log softmax_i(positive) over [keys ; noise], scores / temperature

Shapes: (M, d), drawn anew each step, constants for the loss. Source: DCLR, arXiv:2205.00656, eqs. 3 and 4. Relation: with ratio
towards 0 the loss is that without it. A row of g that vanishes moves nothing. Errors: DataError for token vectors.

>>> one, part = torch.eye(2), Noise(ratio=1.5)
>>> wider = part.extend(Pairs.aligned(one, one), {}, {})
>>> wider.shape, torch.equal(wider.keys, part.extend(Pairs.aligned(one, one), {}, {}).keys)
((2, 5), True)
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from dipole.core.pairs import Pairs
from dipole.core.part import at_least, part, positive, switch
from dipole.core.vectors import Vectors, one_tensor
from dipole.negatives.clock import Clock
from dipole.negatives.search import still
from dipole.pairwise import logsumexp_rows

__all__ = ["Noise"]


@part
class Noise(nn.Module):
    """The same draw on every process: a function of ``seed`` and the steps done."""

    ratio: float = positive(1.0, "M / N: noise vectors a row of the batch; one at least")
    ascents: int = at_least(0, 0, "steps of gradient ascent that make the noise harder; DCLR takes 4")
    size: float = positive(1e-3, "length of each of these steps")
    temperature: float = positive(0.05, "of the loss that is ascended")
    unit: bool = switch(True, "drawn vectors get length one, as encoders that normalise return; off for a cosine score")
    seed: int = at_least(0, 0, "decides the draw")

    def __post_init__(self) -> None:
        self.clock = Clock()

    def extend(self, pairs: Pairs, sides: Mapping[str, Vectors], meta: Mapping[str, torch.Tensor]) -> Pairs:
        """The pairs with noise as further columns."""
        keys = one_tensor(pairs.keys, "noise")
        count = max(1, round(self.ratio * pairs.shape[0]))
        drawn = torch.randn(count, keys.shape[1], generator=self.clock.dice(self.seed, "noise"), dtype=torch.float64)
        drawn = torch.nn.functional.normalize(drawn, dim=1) if self.unit else drawn
        return pairs.with_negatives(self.ascended(pairs, drawn.to(keys)))

    def ascended(self, pairs: Pairs, noise: torch.Tensor) -> torch.Tensor:
        """(M, d) noise after the steps of gradient ascent on the plain loss."""
        constant = still(pairs)
        for _ in range(self.ascents):
            leaf = noise.detach().requires_grad_()
            with torch.enable_grad():  # the positive's score does not depend on the noise
                loss = logsumexp_rows(lambda tile: tile.scores / self.temperature, constant.with_negatives(leaf)).mean()
                (gradient,) = torch.autograd.grad(loss, leaf)
            noise = noise + self.size * torch.nn.functional.normalize(gradient, dim=1, eps=torch.finfo(gradient.dtype).tiny)
        return noise.detach()

    def update(self, sides: Mapping[str, Vectors], meta: Mapping[str, torch.Tensor]) -> None:
        """The next draw is another."""
        self.clock.tick()
