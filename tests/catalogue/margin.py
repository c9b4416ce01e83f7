"""Losses in which a positive must beat negatives by a margin."""

from dipole.losses import BatchHard, HardestHinge, Hinge, MarginPair, SemiHardTriplet
from tests.catalogue.case import Case

NOT_FUSED = {"test_compiled_equals_eager": "a maximum with its place is not a sum the compiler fuses; such passes run eagerly"}

CASES = {
    "hinge": Case(lambda: Hinge(margin=0.5), extreme=None),
    "hinge, two-sided": Case(lambda: Hinge(margin=0.5, two_sided=True), extreme=None),
    "hardest_hinge": Case(lambda: HardestHinge(margin=2.0), extreme=None, exempt=NOT_FUSED),
    "hardest_hinge, two-sided": Case(lambda: HardestHinge(margin=2.0, two_sided=True), extreme=None, exempt=NOT_FUSED),
    "semi_hard_triplet": Case(lambda: SemiHardTriplet(margin=2.0), extreme=None, exempt=NOT_FUSED),
    "batch_hard": Case(lambda: BatchHard(margin=2.0), pairs="labelled", extreme=None, exempt=NOT_FUSED),
    "margin_pair": Case(lambda: MarginPair(margin=1.5), extreme=None),
}
