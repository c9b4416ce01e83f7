"""Entropic optimal transport in the log domain: balanced, partial, unbalanced, with masks. Small problems, any number at once.

    P = exp((f_i + g_j - C_ij) / epsilon)        f, g: one potential a row and a column, found in turns

Shapes: ``cost`` (..., n, m), smaller is nearer; masses ``rows`` (..., n) and ``cols`` (..., m), at least 0; ``mask`` (..., n, m),
True where mass may go. Left out, each row (column) that may go anywhere has the same mass, 1 together. The plan is (..., n, m), in the
cost's precision, and differentiable through the iterations; under ``torch.no_grad`` they cost no memory. Padding is a mask, or masses
of 0. ``tolerance``: stop when the potentials of rows move by less than this in all, in units of the cost; 0: never. Every iteration
ends with the columns, whose sums are then exact.

Source: balanced, Cuturi 2013 (arXiv:1306.0895); unbalanced, Chizat et al. 2018 (arXiv:1607.05816), entropy -H(P); partial, Benamou et al.
2015 (arXiv:1412.5154, section 5): Dykstra's iterations, which in potentials are Sinkhorn's, each kept at 0 or below.
Errors: DataError for masses or masks that admit no plan; ParameterError for an epsilon, strength or mass out of range.

>>> plan = sinkhorn(torch.tensor([[0.0, 1.0], [1.0, 0.0]]), epsilon=0.1)
>>> plan.round(decimals=3)
tensor([[0.5000, 0.0000],
        [0.0000, 0.5000]])
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from dipole.core.errors import DataError, ParameterError
from dipole.core.vectors import wide

Rule = Callable[[torch.Tensor], torch.Tensor]


def sinkhorn(
    cost: torch.Tensor,
    epsilon: float,
    rows: torch.Tensor | None = None,
    cols: torch.Tensor | None = None,
    *,
    mask: torch.Tensor | None = None,
    iterations: int = 1000,
    tolerance: float = 1e-6,
) -> torch.Tensor:
    """The plan whose rows sum to ``rows`` and whose columns sum to ``cols``; both must have the same total."""
    kernel, a, b = _prepared("sinkhorn", cost, epsilon, rows, cols, mask)
    if not torch.allclose(a.exp().sum(-1), b.exp().sum(-1), rtol=1e-4):
        totals = float(a.exp().sum(-1).max()), float(b.exp().sum(-1).max())
        raise DataError(
            "sinkhorn: rows and columns must have the same mass in all", value=totals, remedy="scale one, or use partial_sinkhorn"
        )
    for axis, log_mass in ((-1, a), (-2, b)):
        if bool(((log_mass > -math.inf) & (kernel == -math.inf).all(axis)).any()):
            raise DataError("sinkhorn: a row or column has mass, but the mask lets it go nowhere", remedy="give it the mass 0")
    f, g, _ = _turns(kernel, lambda lse: _minus(a, lse), lambda lse: _minus(b, lse), None, epsilon, iterations, tolerance)
    return _plan(kernel, f, g)


def unbalanced_sinkhorn(
    cost: torch.Tensor,
    epsilon: float,
    strength: float,
    rows: torch.Tensor | None = None,
    cols: torch.Tensor | None = None,
    *,
    mask: torch.Tensor | None = None,
    iterations: int = 1000,
    tolerance: float = 1e-6,
) -> torch.Tensor:
    """The plan of least <P, C> - epsilon H(P) + strength (KL(P 1 || rows) + KL(P^T 1 || cols)): sums may differ, at a price."""
    kernel, a, b = _prepared("unbalanced_sinkhorn", cost, epsilon, rows, cols, mask)
    if not 0 < strength < math.inf:
        raise ParameterError("unbalanced_sinkhorn", "strength", "a number above 0", strength)
    share = strength / (strength + epsilon)
    f, g, _ = _turns(kernel, lambda lse: share * _minus(a, lse), lambda lse: share * _minus(b, lse), None, epsilon, iterations, tolerance)
    return _plan(kernel, f, g)


def partial_sinkhorn(
    cost: torch.Tensor,
    epsilon: float,
    mass: float,
    rows: torch.Tensor | None = None,
    cols: torch.Tensor | None = None,
    *,
    mask: torch.Tensor | None = None,
    iterations: int = 1000,
    tolerance: float = 1e-6,
) -> torch.Tensor:
    """The plan of ``mass`` in all whose rows sum to at most ``rows`` and whose columns to at most ``cols``."""
    kernel, a, b = _prepared("partial_sinkhorn", cost, epsilon, rows, cols, mask)
    most = float(torch.minimum(a.exp().sum(-1), b.exp().sum(-1)).min())
    if not 0 < mass <= most * (1 + 1e-6):
        raise ParameterError("partial_sinkhorn", "mass", f"a number above 0 and at most what both sides have, {most:.6g}", mass)
    f, g, h = _turns(
        kernel,
        lambda lse: _minus(a, lse).clamp(max=0.0),
        lambda lse: _minus(b, lse).clamp(max=0.0),
        math.log(mass),
        epsilon,
        iterations,
        tolerance,
    )
    return _plan(kernel + h, f, g)


def equipartition(scores: torch.Tensor, epsilon: float = 0.05, iterations: int = 3) -> torch.Tensor:
    """(B, K) soft assignment of items to prototypes, rows sum to 1, that gives every prototype nearly B / K items.

    ``scores`` (B, K), larger is nearer. No gradient. Source: SwAV, arXiv:2006.09882, section 3.1 and appendix; three iterations are its
    default, and bring the prototypes only near their share.

    >>> equipartition(torch.tensor([[1.0, 0.9], [0.2, 0.0]]), iterations=50).round(decimals=2)
    tensor([[0.2700, 0.7300],
            [0.7300, 0.2700]])
    """
    with torch.no_grad():
        plan = sinkhorn(-scores.mT, epsilon, iterations=iterations, tolerance=0.0)
        return plan.mT * scores.shape[-2]


def _prepared(
    name: str, cost: torch.Tensor, epsilon: float, rows: torch.Tensor | None, cols: torch.Tensor | None, mask: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """-C / epsilon, and the logarithms of the masses; checked."""
    if not 0 < epsilon < math.inf:
        raise ParameterError(name, "epsilon", "a number above 0", epsilon)
    cost = wide(cost)
    if not bool(cost.isfinite().all()):
        raise DataError(f"{name}: costs must be finite", remedy="leave entries out with mask")
    kernel = -cost / epsilon
    if mask is not None:
        kernel = kernel.masked_fill(~mask, -math.inf)
    masses = []
    for side, given, axis in (("rows", rows, -1), ("cols", cols, -2)):
        if given is None:
            free = (kernel > -math.inf).any(axis).to(cost.dtype)
            given = free / free.sum(-1, keepdim=True)
        if given.shape[-1] != kernel.shape[-2 if axis == -1 else -1] or not bool((given >= 0).all()) or not bool(given.isfinite().all()):
            raise DataError(f"{name}: {side} must be one mass of at least 0 each", value=tuple(given.shape))
        if not bool((given.sum(-1) > 0).all()):
            raise DataError(f"{name}: {side} have no mass at all")
        masses.append(given.to(cost.dtype).log())
    return kernel, masses[0], masses[1]


def _turns(
    kernel: torch.Tensor, on_rows: Rule, on_cols: Rule, log_total: float | None, epsilon: float, iterations: int, tolerance: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Potentials of rows (..., n) and columns (..., m) over epsilon, and of the total (..., 1, 1), 0 unless ``log_total`` is asked for."""
    f, g = kernel.new_zeros(kernel.shape[:-1]), kernel.new_zeros(*kernel.shape[:-2], kernel.shape[-1])
    h = kernel.new_zeros(*kernel.shape[:-2], 1, 1)
    for _ in range(iterations):
        before, total = f, h
        f = on_rows(_lse(kernel + h + g[..., None, :], -1))
        g = on_cols(_lse(kernel + h + f[..., None], -2))
        if log_total is not None:
            h = log_total - _raised(kernel, f, g).logsumexp((-2, -1), keepdim=True)
        if tolerance and epsilon * max(_moved(f, before), _moved(h, total)) < tolerance:
            break
    return f, g, h


@torch.no_grad()
def _moved(now: torch.Tensor, before: torch.Tensor) -> float:
    """The largest sum, over the problems, of what potentials moved by; -inf stays where it is."""
    return float((now - before).nan_to_num(0.0).abs().sum(-1).max())


def _lse(x: torch.Tensor, axis: int) -> torch.Tensor:
    """log sum exp, -inf for a line of nothing but -inf, and without its NaN gradient."""
    nothing = (x == -math.inf).all(axis, keepdim=True)
    return x.masked_fill(nothing, 0.0).logsumexp(axis).masked_fill(nothing.squeeze(axis), -math.inf)


def _minus(log_mass: torch.Tensor, lse: torch.Tensor) -> torch.Tensor:
    """log_mass - lse, -inf where there is no mass or nowhere to go."""
    nothing = (log_mass == -math.inf) | (lse == -math.inf)
    return (log_mass - lse.masked_fill(nothing, 0.0)).masked_fill(nothing, -math.inf)


def _raised(kernel: torch.Tensor, f: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
    return kernel + f[..., None] + g[..., None, :]


def _plan(kernel: torch.Tensor, f: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
    return _raised(kernel, f, g).exp()
