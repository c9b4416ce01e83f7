"""Losses on the geometry of the embedding."""

from dipole.losses import AlignUniform
from tests.catalogue.case import Case

CASES = {"align_uniform": Case(lambda: AlignUniform(sharpness=0.5), extreme=lambda temperature: {"sharpness": 1 / temperature})}
