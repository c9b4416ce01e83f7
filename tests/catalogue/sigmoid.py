"""Losses that judge each pair alone."""

import torch

from dipole.losses import ETS, ClassPrototypes, FocalSigmoid, Matching, PairwiseBCE, SigLIP
from tests.catalogue.case import Case


def drawn(make):
    """A loss with fresh weights, the same ones whenever it is made."""

    def loss():
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return make()

    return loss


AT_HAND = {
    "test_compiled_equals_eager": "picks the hardest entries, a maximum with its place, which is not fused",
    "test_autocast_leaves_the_statistics_alone": "a linear layer runs backward inside the region, as PyTorch advises against",
}
CASES = {
    "siglip": Case(lambda: SigLIP(temperature=0.2, bias=-1.0)),
    "ets": Case(lambda: ETS(temperature=0.5)),
    "focal_sigmoid": Case(lambda: FocalSigmoid(temperature=0.2, focus=1.5, balance=0.3)),
    "pairwise_bce": Case(lambda: PairwiseBCE(), pairs="labelled", extreme=None),
    "pairwise_bce, negatives too": Case(lambda: PairwiseBCE(negative_weight=0.5), pairs="labelled", extreme=None),
    "class_prototypes": Case(drawn(lambda: ClassPrototypes(classes=120, dim=5)), pairs="classes", extreme=None),
    "matching": Case(drawn(lambda: Matching(dim=5, hidden=8)), pairs="five, at hand", extreme=None, exempt=AT_HAND),
}
