"""Losses with a softmax normaliser."""

from dipole.losses import (
    CWCL,
    DCL,
    DCLW,
    GML,
    HNNCE,
    MACL,
    AdditiveMargin,
    AngularMargin,
    Debiased,
    Distilled,
    FocalInfoNCE,
    FourBlock,
    InfoNCE,
    PerPositive,
    ProtoNCE,
    SupCon,
    SupConIn,
    SupReMix,
)
from tests.catalogue.case import Case

BY_CLASS = {"test_compiled_equals_eager": "sums by class are scattered, which is not fused; such passes run eagerly"}
BY_CHANCE = {
    "test_the_order_of_rows_does_not_matter": "each row draws its own mixtures, so a row in another place draws others",
    "test_compiled_equals_eager": "mixtures around an anchor are laid out, and their sum is no tile",
}
CASES = {
    "infonce": Case(lambda: InfoNCE(temperature=0.2)),
    "infonce, two-sided": Case(lambda: InfoNCE(temperature=0.2, two_sided=True)),
    "infonce, smoothed": Case(lambda: InfoNCE(temperature=0.2, two_sided=True, label_smoothing=0.1)),
    "dcl": Case(lambda: DCL(temperature=0.2)),
    "dclw": Case(lambda: DCLW(temperature=0.2)),
    "dclw, live": Case(lambda: DCLW(temperature=0.2, sharpness=0.7, live_weights=True)),
    "supcon": Case(lambda: SupCon(temperature=0.2), pairs="labelled"),
    "supcon, graded": Case(lambda: SupCon(temperature=0.2), pairs="graded"),
    "supcon_in": Case(lambda: SupConIn(temperature=0.2), pairs="labelled"),
    "supcon_in, graded": Case(lambda: SupConIn(temperature=0.2), pairs="graded"),
    "per_positive": Case(lambda: PerPositive(temperature=0.2), pairs="labelled"),
    "proto_nce": Case(lambda: ProtoNCE(temperature=0.2), pairs="prototypes"),
    "gml": Case(lambda: GML(temperature=0.5, prior=tuple(range(1, 121))), pairs="described", exempt=BY_CLASS),
    "supremix": Case(lambda: SupReMix(temperature=0.2, mixed_positives=4), pairs="numbered", exempt=BY_CHANCE),
    "supremix, no mixtures": Case(lambda: SupReMix(temperature=0.2, mixed_positives=0, mix_negatives=False), pairs="numbered"),
    "four_block": Case(lambda: FourBlock(temperature=0.2)),
    "hn_nce": Case(lambda: HNNCE(temperature=0.2, hardness=0.5, positive_share=0.5)),
    "hn_nce, two-sided": Case(lambda: HNNCE(temperature=0.2, hardness=0.5, two_sided=True)),
    "debiased": Case(lambda: Debiased(temperature=0.5, class_prior=0.01, hardness=0.5)),
    "focal_infonce": Case(lambda: FocalInfoNCE(temperature=0.2, focus=2.0)),
    "additive_margin": Case(lambda: AdditiveMargin(temperature=0.2, margin=0.3)),
    "angular_margin": Case(lambda: AngularMargin(temperature=0.2, margin=0.3), pairs="cosines"),
    "macl": Case(lambda: MACL(temperature=0.2, growth=0.5), pairs="cosines"),
    "cwcl": Case(lambda: CWCL(temperature=0.2, power=2.0)),
    "distilled": Case(lambda: Distilled(temperature=0.2, teacher_temperature=0.3), pairs="taught"),
    "distilled, two-sided": Case(lambda: Distilled(temperature=0.2, share=0.7, two_sided=True), pairs="taught"),
}
