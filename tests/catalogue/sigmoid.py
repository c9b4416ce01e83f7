"""Losses that judge each pair alone."""

from dipole.losses import ETS, FocalSigmoid, SigLIP
from tests.catalogue.case import Case

CASES = {
    "siglip": Case(lambda: SigLIP(temperature=0.2, bias=-1.0)),
    "ets": Case(lambda: ETS(temperature=0.5)),
    "focal_sigmoid": Case(lambda: FocalSigmoid(temperature=0.2, focus=1.5, balance=0.3)),
}
