"""Objectives over pairs: each returns one value per query, (N,), and leaves the mean to the training step."""

# Written by docs/generate.py from the modules there are.
from dipole.losses.geometry.align_uniform import AlignUniform
from dipole.losses.sigmoid.siglip import SigLIP
from dipole.losses.softmax.dcl import DCL
from dipole.losses.softmax.infonce import InfoNCE
from dipole.losses.softmax.supcon import SupCon

__all__ = [
    "DCL",
    "AlignUniform",
    "InfoNCE",
    "SigLIP",
    "SupCon",
]
