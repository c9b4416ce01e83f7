"""Gradient caching against the plain way, in float32 and float64, dropout on, autocast on, tokens, several sides."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import nn

from dipole.core.encoded import Encoded
from dipole.core.errors import EngineError
from dipole.train.cache import cached_backward, plain_backward
from dipole.train.joining import cut, encoded_of, join, pick, tensors_of

SIDES = {"queries": 7, "keys": 7, "negatives": 3}


class Encoder(nn.Module):
    def __init__(self, dropout: float = 0.3) -> None:
        super().__init__()
        self.first, self.second, self.drop = nn.Linear(6, 8), nn.Linear(8, 5), nn.Dropout(dropout)

    def forward(self, inputs: Mapping[str, torch.Tensor]) -> Encoded:
        tokens = self.second(self.drop(torch.tanh(self.first(inputs["x"]))))
        pooled = nn.functional.normalize(tokens.mean(1), dim=-1)
        return Encoded(pooled, tokens=tokens, mask=inputs["x"].abs().sum(-1) > 0, pre_norm=tokens.mean(1), meta={"weight": inputs["w"]})


class Objective(nn.Module):
    """Reads pooled vectors, tokens and pre_norm of three sides, with two learned parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.log_scale, self.bias = nn.Parameter(torch.tensor(1.0)), nn.Parameter(torch.tensor(0.2))

    def forward(self, sides: Mapping[str, Encoded]) -> torch.Tensor:
        keys = torch.cat([sides["keys"].pooled, sides["negatives"].pooled])
        scores = sides["queries"].pooled @ keys.T * self.log_scale.exp() + self.bias
        tokens = sides["queries"].tokens
        assert tokens is not None and sides["keys"].pre_norm is not None
        contrast = (torch.logsumexp(scores, 1) - scores.diagonal()).mean()
        return contrast + tokens.pow(2).mean() * self.bias + sides["keys"].pre_norm.std()


def gradients(way, *, dtype=torch.float64, micro=3, autocast=False, seed=0):  # type: ignore[no-untyped-def]
    torch.manual_seed(seed)
    encoder, objective = Encoder().to(dtype), Objective().to(dtype)
    inputs = {s: {"x": torch.randn(n, 4, 6, dtype=dtype), "w": torch.ones(n, dtype=dtype)} for s, n in SIDES.items()}
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        done = way(encoder, inputs, objective, micro)
    return done, [p.grad for p in (*encoder.parameters(), *objective.parameters())], torch.rand(3)


@pytest.mark.parametrize("micro", [1, 2, 3, 7, 0])
@pytest.mark.parametrize(("dtype", "near"), [(torch.float64, 1e-14), (torch.float32, 1e-6)])
def test_cached_equals_plain(micro: int, dtype: torch.dtype, near: float) -> None:
    cached, ours, draw = gradients(cached_backward, dtype=dtype, micro=micro)
    plain, theirs, draw_plain = gradients(plain_backward, dtype=dtype, micro=micro)
    assert torch.equal(cached.loss, plain.loss)
    assert torch.equal(draw, draw_plain)  # both leave the generators at the same place
    for a, b in zip(ours, theirs, strict=True):
        assert b is not None and b.abs().max() > 0
        torch.testing.assert_close(a, b, rtol=near, atol=near)


def test_dropout_is_really_on() -> None:
    """The equality above would be empty if two draws gave the same gradient."""
    _, ours, _ = gradients(cached_backward, seed=0)
    encoder, objective = Encoder().double(), Objective().double()
    torch.manual_seed(0)
    encoder, objective = Encoder().double(), Objective().double()
    inputs = {s: {"x": torch.randn(n, 4, 6, dtype=torch.float64), "w": torch.ones(n, dtype=torch.float64)} for s, n in SIDES.items()}
    torch.manual_seed(99)  # other masks
    cached_backward(encoder, inputs, objective, 3)
    assert not torch.allclose(ours[0], encoder.first.weight.grad)


def test_inside_an_open_autocast_region() -> None:
    """Weights that the first pass cast without grad must not be reused by the second."""
    _, ours, _ = gradients(cached_backward, dtype=torch.float32, autocast=True)
    _, theirs, _ = gradients(plain_backward, dtype=torch.float32, autocast=True)
    for a, b in zip(ours, theirs, strict=True):
        assert a is not None
        assert (a - b).norm() < 0.02 * b.norm() + 1e-3  # bfloat16 sums in another order


def test_gradient_by_finite_differences() -> None:
    """Independent of the plain path: a directional derivative with the dropout masks held fixed."""
    _, grads, _ = gradients(cached_backward)
    torch.manual_seed(0)
    encoder, objective = Encoder().double(), Objective().double()
    inputs = {s: {"x": torch.randn(n, 4, 6, dtype=torch.float64), "w": torch.ones(n, dtype=torch.float64)} for s, n in SIDES.items()}
    state = torch.get_rng_state()
    direction = torch.randn_like(encoder.second.weight)

    def value(by: float) -> torch.Tensor:
        torch.set_rng_state(state)
        with torch.no_grad():
            encoder.second.weight.add_(by * direction)
            sides = {s: encoded_of(join([tensors_of(encoder(piece)) for piece in cut(x, 3)])) for s, x in inputs.items()}
            encoder.second.weight.sub_(by * direction)
            return objective(sides)

    slope = (value(1e-5) - value(-1e-5)) / 2e-5
    torch.testing.assert_close(slope, (grads[2] * direction).sum(), rtol=1e-6, atol=1e-8)


def test_only_one_micro_batch_keeps_a_graph() -> None:
    saved: list[int] = []

    def bytes_saved(tensor: torch.Tensor) -> torch.Tensor:
        saved.append(tensor.numel())
        return tensor

    def count(way, micro: int) -> int:  # type: ignore[no-untyped-def]
        torch.manual_seed(0)
        encoder = Encoder()
        inputs = {"queries": {"x": torch.randn(64, 4, 6), "w": torch.ones(64)}}
        largest = 0

        def encode(x: Mapping[str, torch.Tensor]) -> Encoded:
            nonlocal largest
            saved.clear()
            with torch.autograd.graph.saved_tensors_hooks(bytes_saved, lambda t: t):
                out = encoder(x)
            largest = max(largest, sum(saved))
            return out

        way(encode, inputs, lambda sides: sides["queries"].pooled.std(), micro)
        return largest

    assert count(cached_backward, 4) < count(plain_backward, 64) / 8


def test_sides_the_loss_ignores_are_not_encoded_twice() -> None:
    calls = []
    encoder = Encoder()

    def encode(x: Mapping[str, torch.Tensor]) -> Encoded:
        calls.append(torch.is_grad_enabled())
        return encoder(x)

    inputs = {s: {"x": torch.randn(4, 4, 6), "w": torch.ones(4)} for s in ("queries", "keys")}
    cached_backward(encode, inputs, lambda sides: sides["queries"].pooled.std(), 2)
    assert calls == [False] * 4 + [True] * 2


def test_batchnorm_is_refused() -> None:
    encoder = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    with pytest.raises(EngineError, match=r"BatchNorm.*micro_batch_size = 0"):
        inputs = {"q": {"x": torch.randn(4, 2)}}
        cached_backward(lambda x: Encoded(encoder(x["x"])), inputs, lambda s: s["q"].pooled.sum(), 2, module=encoder)


def test_a_forward_that_changes_a_buffer_is_refused() -> None:
    class Counts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 2)
            self.register_buffer("seen", torch.zeros(()))

        def forward(self, x: Mapping[str, torch.Tensor]) -> Encoded:
            self.seen += 1
            return Encoded(self.layer(x["x"]))

    encoder = Counts()
    with pytest.raises(EngineError, match="changed one of its buffers"):
        cached_backward(encoder, {"q": {"x": torch.randn(4, 2)}}, lambda s: s["q"].pooled.sum(), 2, module=encoder)


def test_micro_batches_of_different_token_counts_are_padded() -> None:
    short = tensors_of(Encoded(torch.ones(2, 3), tokens=torch.ones(2, 4, 3), mask=torch.ones(2, 4, dtype=torch.bool)))
    long = tensors_of(Encoded(torch.ones(1, 3), tokens=torch.ones(1, 6, 3), mask=torch.ones(1, 6, dtype=torch.bool)))
    both = encoded_of(join([short, long]))
    assert both.tokens is not None and both.mask is not None
    assert both.tokens.shape == (3, 6, 3) and both.mask.sum(1).tolist() == [4, 4, 6]
    assert both.tokens.sum().item() == (4 * 2 + 6) * 3
    assert pick(both, torch.tensor([2, 0])).mask.sum(1).tolist() == [6, 4]  # type: ignore[union-attr]
