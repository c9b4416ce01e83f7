"""Losses over more than two views of an item."""

from dipole.losses import MVDHEL, MVInfoNCE, PolyView, PolyViewArithmetic, PolyViewSufficient
from tests.catalogue.case import Case

CASES = {
    "mv_infonce": Case(lambda: MVInfoNCE(temperature=0.3), pairs="stacked"),
    "mv_dhel": Case(lambda: MVDHEL(temperature=0.3), pairs="stacked"),
    "poly_view": Case(lambda: PolyView(temperature=0.3), pairs="stacked"),
    "poly_view_arithmetic": Case(lambda: PolyViewArithmetic(temperature=0.3), pairs="stacked"),
    "poly_view_sufficient": Case(lambda: PolyViewSufficient(temperature=0.3), pairs="stacked"),
}
