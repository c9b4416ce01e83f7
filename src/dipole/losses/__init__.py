"""Objectives over pairs: each returns one value per query, (N,), and leaves the mean to the training step."""

# Written by docs/generate.py from the modules there are.
from dipole.losses.geometry.align_uniform import AlignUniform
from dipole.losses.geometry.cacr import CACR
from dipole.losses.geometry.spectral import Spectral
from dipole.losses.margin.batch_hard import BatchHard
from dipole.losses.margin.hardest_hinge import HardestHinge
from dipole.losses.margin.hinge import Hinge
from dipole.losses.margin.margin_pair import MarginPair
from dipole.losses.margin.semi_hard_triplet import SemiHardTriplet
from dipole.losses.ranking.pairwise_logistic import PairwiseLogistic
from dipole.losses.sigmoid.ets import ETS
from dipole.losses.sigmoid.focal_sigmoid import FocalSigmoid
from dipole.losses.sigmoid.siglip import SigLIP
from dipole.losses.softmax.dcl import DCL
from dipole.losses.softmax.infonce import InfoNCE
from dipole.losses.softmax.supcon import SupCon

__all__ = [
    "CACR",
    "DCL",
    "ETS",
    "AlignUniform",
    "BatchHard",
    "FocalSigmoid",
    "HardestHinge",
    "Hinge",
    "InfoNCE",
    "MarginPair",
    "PairwiseLogistic",
    "SemiHardTriplet",
    "SigLIP",
    "Spectral",
    "SupCon",
]
