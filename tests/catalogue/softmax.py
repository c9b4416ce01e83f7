"""Losses with a softmax normaliser."""

from dipole.losses import DCL, InfoNCE, SupCon
from tests.catalogue.case import Case

CASES = {
    "infonce": Case(lambda: InfoNCE(temperature=0.2)),
    "infonce, two-sided": Case(lambda: InfoNCE(temperature=0.2, two_sided=True)),
    "dcl": Case(lambda: DCL(temperature=0.2)),
    "supcon": Case(lambda: SupCon(temperature=0.2), pairs="labelled"),
}
