"""Losses on the geometry of the embedding."""

from dipole.losses import CACR, AlignUniform, LinearContrast, Spectral
from tests.catalogue.case import Case


def nearer(temperature):
    """From 0.01 to 100: beyond, the slope of a weight, sharpness times a difference of softmaxes, outgrows float32's digits."""
    return {"near_negatives": 0.1 / temperature, "far_positives": 0.1 / temperature}


CASES = {
    "align_uniform": Case(lambda: AlignUniform(sharpness=0.5), extreme=lambda temperature: {"sharpness": 1 / temperature}),
    "linear_contrast": Case(lambda: LinearContrast(spread_weight=0.5), extreme=None),
    "spectral": Case(lambda: Spectral(spread_weight=0.5), extreme=None),
    "cacr": Case(lambda: CACR(near_negatives=2.0), extreme=nearer),
    "cacr, constant weights": Case(lambda: CACR(near_negatives=2.0, live=False), pairs="labelled", extreme=None),
}
