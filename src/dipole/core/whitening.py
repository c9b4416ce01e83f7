"""Whitening by groups of coordinates: mean 0 and covariance 1 over the batch, turned as little as possible (ZCA)."""

from __future__ import annotations

from typing import Any

import torch

from dipole.core.errors import DegenerateBatchError


class _InverseRoot(torch.autograd.Function):
    """C^(-1/2) of symmetric positive matrices (G, p, p). Its slope needs no gaps between eigenvalues, which eigh's own does."""

    @staticmethod
    def forward(ctx: Any, matrices: torch.Tensor) -> torch.Tensor:
        values, vectors = torch.linalg.eigh(matrices)
        ctx.save_for_backward(values, vectors)
        root: torch.Tensor = (vectors * values.rsqrt()[:, None]) @ vectors.mT
        return root

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> torch.Tensor:
        values, vectors = ctx.saved_tensors
        roots = values.sqrt()
        slope = -1 / (roots[:, :, None] * roots[:, None] * (roots[:, :, None] + roots[:, None]))
        inner = vectors.mT @ ((grads[0] + grads[0].mT) / 2) @ vectors
        grad: torch.Tensor = vectors @ (slope * inner) @ vectors.mT
        return grad


def whiten(x: torch.Tensor, groups: int, order: torch.Tensor | None = None) -> torch.Tensor:
    """(N, d) whitened in ``groups`` groups of d / groups coordinates each, neighbours in ``order`` (a permutation; None: as they are).

        Y_g = X_g C_g^(-1/2),   C_g = X_g^T X_g / N of the centred X_g

    The gradient flows through the covariance too. Raises DegenerateBatchError where a group varies in fewer directions than it has
    coordinates, which N <= d / groups makes sure of; ValueError where groups do not divide d.

    >>> y = whiten(torch.randn(100, 4, dtype=torch.float64), groups=2)
    >>> torch.allclose(y[:, :2].T @ y[:, :2] / 100, torch.eye(2, dtype=torch.float64))
    True
    """
    n, d = x.shape
    if d % groups:
        raise ValueError(f"whiten: {groups} groups must divide {d} dimensions")
    order = torch.arange(d, device=x.device) if order is None else order.to(x.device)
    parts = x[:, order].reshape(n, groups, -1).transpose(0, 1)
    centred = parts - parts.mean(1, keepdim=True)
    covariance = centred.mT @ centred / n
    least, most = torch.linalg.eigvalsh(covariance.detach())[:, [0, -1]].unbind(1)
    flat = least <= torch.finfo(x.dtype).eps * d * most
    if bool(flat.any()):
        raise DegenerateBatchError(
            f"whiten: {int(flat.sum())} of {groups} groups vary in fewer directions than they have coordinates",
            value=f"{n} items, {d // groups} coordinates a group",
            remedy="raise batch_size above the coordinates of a group, or make more groups",
        )
    root: torch.Tensor = _InverseRoot.apply(covariance)  # type: ignore[no-untyped-call]
    return (centred @ root).transpose(0, 1).reshape(n, d)[:, order.argsort()]
