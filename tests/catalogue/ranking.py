"""Losses that put candidates in the order a teacher or grades give."""

from dipole.losses import PairwiseLogistic
from tests.catalogue.case import Case

CASES = {"pairwise_logistic": Case(lambda: PairwiseLogistic(temperature=0.3))}
