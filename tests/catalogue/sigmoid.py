"""Losses that judge each pair alone."""

from dipole.losses import SigLIP
from tests.catalogue.case import Case

CASES = {"siglip": Case(lambda: SigLIP(temperature=0.2, bias=-1.0))}
