"""Losses that take out of a model what it learned."""

from dipole.losses import LAFAlignment, LAFExtraction
from tests.catalogue.case import Case

ONE_A_PAIR = {"test_compiled_equals_eager": "reads one score a pair, so there is no tile to fuse"}
CASES = {
    "laf_alignment": Case(lambda: LAFAlignment(temperature=2.0), pairs="forget", exempt=ONE_A_PAIR),
    "laf_extraction": Case(lambda: LAFExtraction(), pairs="forget", extreme=None, exempt=ONE_A_PAIR),
}
