"""Classified: logits by cosine, the head learns, and everything else is the encoder's."""

import pytest
import torch
import torch.nn.functional as F

from dipole.encoders.classified import Classified
from dipole.encoders.momentum import Momentum
from dipole.modality.toy.encoders.bag import Bag
from dipole.pairwise.scores.scaled_cosine import ScaledCosine
from dipole.regularizers import CrossEntropy
from dipole.train.step import Objective, backward
from dipole.views.labelled import Labelled

TEXTS = ["a b c", "d e", "f g h i", "a d"]


def test_logits_are_cosines_over_the_temperature():
    encoder = Classified(Bag(dimension=4), classes=3, temperature=0.1)
    encoded = encoder(encoder.prepare(TEXTS))
    want = F.normalize(encoded.pre_norm, dim=1) @ F.normalize(encoder.weight, dim=1).T / 0.1
    torch.testing.assert_close(encoded.logits, want)
    assert torch.equal(encoder.encode(TEXTS), encoder.encoder.encode(TEXTS)) and encoder.identity == encoder.encoder.identity


@pytest.mark.parametrize("cached", [False, True])
def test_a_few_steps_classify(cached):
    torch.manual_seed(0)
    encoder = Momentum(Classified(Bag(dimension=8), classes=2), decay=0.9, sides=("keys",))
    objective = Objective(Labelled(), ScaledCosine(), [CrossEntropy()])
    optimizer = torch.optim.Adam(encoder.parameters(), lr=0.05)
    rows = [{"anchor": text, "label": i % 2} for i, text in enumerate(TEXTS)]
    losses = []
    for step in range(20):
        optimizer.zero_grad()
        losses.append(float(backward(encoder, encoder, objective, objective.views(rows), 2, cached=cached).loss))
        optimizer.step()
        encoder.after_step(step + 1, 20)
    assert losses[-1] < 0.05 < losses[0]
