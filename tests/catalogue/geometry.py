"""Losses on the geometry of the embedding."""

import torch

from dipole.losses import CACR, AlignUniform, CrossUniform, LinearContrast, PredictedTwin, Spectral
from tests.catalogue.case import Case


def nearer(temperature):
    """From 0.01 to 100: beyond, the slope of a weight, sharpness times a difference of softmaxes, outgrows float32's digits."""
    return {"near_negatives": 0.1 / temperature, "far_positives": 0.1 / temperature}


def predicted(hidden):
    torch.manual_seed(0)
    return PredictedTwin(dimension=5, hidden=hidden)


AT_HAND = {
    "test_compiled_equals_eager": "reads one score a pair, so there is no tile to fuse",
    "test_autocast_leaves_the_statistics_alone": "a linear layer runs backward inside the region, as PyTorch advises against",
}
CASES = {
    "align_uniform": Case(lambda: AlignUniform(sharpness=0.5), extreme=lambda temperature: {"sharpness": 1 / temperature}),
    "cross_uniform": Case(lambda: CrossUniform(sharpness=0.5), extreme=lambda temperature: {"sharpness": 1 / temperature}),
    "predicted_twin": Case(lambda: predicted(8), pairs="twins", extreme=None, exempt=AT_HAND),
    "predicted_twin, bare": Case(lambda: predicted(0), pairs="twins", extreme=None, exempt=AT_HAND),
    "linear_contrast": Case(lambda: LinearContrast(spread_weight=0.5), extreme=None),
    "spectral": Case(lambda: Spectral(spread_weight=0.5), extreme=None),
    "cacr": Case(lambda: CACR(near_negatives=2.0), extreme=nearer),
    "cacr, constant weights": Case(lambda: CACR(near_negatives=2.0, live=False), pairs="labelled", extreme=None),
}
