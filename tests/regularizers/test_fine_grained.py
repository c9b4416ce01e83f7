"""Words and patches against loops and values worked out elsewhere."""

from __future__ import annotations

import math

import pytest
import torch

from dipole.core.encoded import Encoded
from dipole.core.errors import DataError, DegenerateBatchError
from dipole.regularizers import FineGrained
from dipole.regularizers.fine_grained import grouping

SIN = torch.sin(1 + torch.arange(18, dtype=torch.float64)).reshape(2, 3, 3)
COS = torch.cos(1 + 2 * torch.arange(24, dtype=torch.float64)).reshape(2, 4, 3)
SAID = torch.tensor([[True, True, True], [True, True, False]])


def of(patches: torch.Tensor, words: torch.Tensor, there: torch.Tensor | None = None, said: torch.Tensor | None = None) -> torch.Tensor:
    there = torch.ones(patches.shape[:2], dtype=torch.bool) if there is None else there
    said = torch.ones(words.shape[:2], dtype=torch.bool) if said is None else said
    sides = {"queries": Encoded(patches[:, 0], patches, there), "keys": Encoded(words[:, 0], words, said)}
    return FineGrained(temperature=0.1).double().over_encoded(sides)


def by_loops(patches: torch.Tensor, words: torch.Tensor, there: torch.Tensor, said: torch.Tensor) -> float:
    """SPARC's equations, item by item and word by word."""
    items = []
    for v, t in ((p[a], w[b]) for p, w, a, b in zip(patches, words, there, said, strict=True)):
        groups = []
        for word in t:
            s = [float(word @ patch) for patch in v]
            h = [(x - min(s)) / (max(s) - min(s)) for x in s]
            h = [x if x >= 1 / len(v) else 0.0 for x in h]
            groups.append(sum(x / sum(h) * patch for x, patch in zip(h, v, strict=True)))
        near = [[float(torch.cosine_similarity(c, word, dim=0)) / 0.1 for word in t] for c in groups]
        each = []
        for j in range(len(t)):
            rows, cols = (math.log(sum(math.exp(x) for x in some)) for some in (near[j], [line[j] for line in near]))
            each.append((rows + cols) / 2 - near[j][j])
        items.append(sum(each) / len(each))
    return sum(items) / len(items)


def test_it_is_what_the_equations_say() -> None:
    there = torch.tensor([[True, True, True, True], [True, False, True, True]])
    assert of(COS, SIN, there, SAID).item() == pytest.approx(by_loops(COS, SIN, there, SAID), rel=1e-6)


def test_it_is_the_value_worked_out_for_the_catalogue() -> None:
    shares = grouping(SIN, COS, torch.ones(2, 4, dtype=torch.bool))
    torch.testing.assert_close(shares[0, 0], torch.tensor([0, 0.1612, 0.3340, 0.5048], dtype=torch.float64), atol=5e-5, rtol=0)
    assert of(COS, SIN, said=SAID).item() == pytest.approx(0.5091293781, rel=1e-7)


def test_shares_sum_to_one_and_do_not_care_for_shift_and_scale() -> None:
    there = torch.ones(2, 4, dtype=torch.bool)
    shares = grouping(SIN, COS, there)
    torch.testing.assert_close(shares.sum(2), torch.ones(2, 3, dtype=torch.float64))
    scores = SIN @ COS.mT
    assert torch.equal(shares.argmax(2), scores.argmax(2)) and bool((shares.gather(2, scores.argmin(2)[..., None]) == 0).all())
    torch.testing.assert_close(grouping(3 * SIN, COS, there), shares)
    further = torch.cat([COS, torch.ones(2, 4, 1, dtype=torch.float64)], 2)  # adds the word's last number to all of its scores
    torch.testing.assert_close(grouping(torch.cat([SIN, 5 * SIN[..., :1]], 2), further, there), shares)


def test_padding_changes_nothing() -> None:
    leaves = [COS.clone().requires_grad_(), SIN.clone().requires_grad_()]
    want = of(*leaves, said=SAID)
    grads = torch.autograd.grad(want, leaves)
    there, said = torch.ones(2, 6, dtype=torch.bool), torch.cat([SAID, torch.zeros(2, 2, dtype=torch.bool)], 1)
    there[:, 4:] = False
    padded = [torch.cat([x, 9 * torch.ones(2, 2, 3, dtype=torch.float64)], 1) for x in leaves]
    got = of(*padded, there, said)
    torch.testing.assert_close(got, want)
    for a, b in zip(torch.autograd.grad(got, leaves), grads, strict=True):
        torch.testing.assert_close(a, b)


def test_an_item_does_not_see_the_others() -> None:
    alone = [of(COS[i : i + 1], SIN[i : i + 1], said=SAID[i : i + 1]) for i in range(2)]
    torch.testing.assert_close(of(COS, SIN, said=SAID), torch.stack(alone).mean())


def test_what_the_paper_leaves_open_is_defined() -> None:
    alike = COS[:, :1].expand(2, 4, 3)
    torch.testing.assert_close(grouping(SIN, alike, torch.ones(2, 4, dtype=torch.bool)), torch.full((2, 3, 4), 0.25, dtype=torch.float64))
    one_word = torch.tensor([[True, False, False]] * 2)
    assert of(COS, SIN, said=one_word).item() == pytest.approx(0, abs=1e-12)
    some = torch.tensor([[True, True, True], [False, False, False]])  # an item without a word does not count
    torch.testing.assert_close(of(COS, SIN, said=some), of(COS[:1], SIN[:1]))
    leaf = COS.clone().requires_grad_()
    of(leaf, SIN, torch.tensor([[True] * 4, [False] * 4])).backward()
    assert leaf.grad is not None and bool(leaf.grad.isfinite().all())


def test_what_it_cannot_read_is_refused() -> None:
    with pytest.raises(DegenerateBatchError, match="both words and patches"):
        of(COS, SIN, said=torch.zeros(2, 3, dtype=torch.bool))
    with pytest.raises(DataError, match="one length"):
        of(COS[..., :2], SIN)
    with pytest.raises(DataError, match="tokens and mask of keys, which has none"):
        FineGrained().over_encoded({"queries": Encoded(COS[:, 0], COS, torch.ones(2, 4, dtype=torch.bool)), "keys": Encoded(COS[:, 0])})
