"""Losses around a loss."""

import torch

from dipole.losses import (
    CACR,
    DCL,
    MACL,
    BothViews,
    ClassGated,
    EachView,
    Graded,
    HardestOnly,
    InfoNCE,
    KeysAsk,
    LearnedWeights,
    OwnOnly,
    Propensity,
    SupCon,
    Whitened,
    WithoutEqual,
    WithoutSimilar,
)
from tests.catalogue.case import Case


def inside(temperature):
    return {"loss": InfoNCE(temperature=temperature)}


def learned():
    torch.manual_seed(0)
    return LearnedWeights(InfoNCE(temperature=0.2), dimension=5, hidden=4)


def gated():
    torch.manual_seed(0)
    return ClassGated(dimension=5, classes=64, width=6, hidden=7)


def whitened(**given):
    torch.manual_seed(0)
    return Whitened(InfoNCE(temperature=0.2), **given)


OUTSIDE = {"test_autocast_leaves_the_statistics_alone": "a matrix product runs backward inside the region, as PyTorch advises against"}
CASES = {
    "whitened": Case(lambda: whitened(groups=5, positives=2), pairs="five, at hand", extreme=None, exempt=OUTSIDE),
    "whitened, with a head": Case(lambda: whitened(groups=5, positives=1, head=5), pairs="five, at hand", extreme=None, exempt=OUTSIDE),
    "class_gated": Case(gated, pairs="two classes", extreme=None, exempt=OUTSIDE),
    "both_views": Case(lambda: BothViews(InfoNCE(temperature=0.2)), extreme=inside),
    "both_views of dcl": Case(lambda: BothViews(DCL(temperature=0.2)), extreme=inside),
    "both_views of macl": Case(lambda: BothViews(MACL(temperature=0.2)), pairs="cosines", extreme=None),
    "both_views without_equal": Case(lambda: BothViews(WithoutEqual(InfoNCE(temperature=0.2))), pairs="noted", extreme=None),
    "each_view": Case(lambda: EachView(SupCon(temperature=0.2)), pairs="stacked", extreme=lambda t: {"loss": SupCon(temperature=t)}),
    "each_view of cacr": Case(lambda: EachView(CACR()), pairs="stacked", extreme=None),
    "keys_ask": Case(lambda: KeysAsk(InfoNCE(temperature=0.2)), extreme=inside),
    "keys_ask of supcon": Case(lambda: KeysAsk(SupCon(temperature=0.2)), pairs="graded, square", extreme=None),
    "without_equal": Case(lambda: WithoutEqual(InfoNCE(temperature=0.2)), pairs="noted", extreme=inside),
    "without_similar": Case(
        lambda: WithoutSimilar(InfoNCE(temperature=0.2), above=0.8, margin=0.1, ratio=0.9),
        pairs="taught",
        extreme=lambda t: {**inside(t), "above": 0.8},
    ),
    "own_only": Case(lambda: OwnOnly(InfoNCE(temperature=0.2)), pairs="owned", extreme=inside),
    "hardest_only": Case(lambda: HardestOnly(InfoNCE(temperature=0.2), share=0.3), extreme=inside),
    "graded": Case(lambda: Graded(InfoNCE(temperature=0.2), map="inverse_log"), pairs="noted", extreme=inside),
    "propensity": Case(lambda: Propensity(InfoNCE(temperature=0.2, two_sided=True)), pairs="noted", extreme=inside),
    "learned_weights": Case(
        learned,
        pairs="five",
        extreme=None,
        exempt={"test_autocast_leaves_the_statistics_alone": "a linear layer runs backward inside the region, as PyTorch advises against"},
    ),
}
