"""Every registered loss with a batch it is defined on: the list the contract tests walk.

A loss module that is missing here turns ``test_every_loss_is_in_the_catalogue`` red.
"""

from dipole import Pairs
from dipole.core.relations import Diagonal, Match
from dipole.losses import DCL, AlignUniform, InfoNCE, SigLIP, SupCon

LOSSES = {
    "infonce": lambda: InfoNCE(temperature=0.2),
    "infonce, two-sided": lambda: InfoNCE(temperature=0.2, two_sided=True),
    "dcl": lambda: DCL(temperature=0.2),
    "supcon": lambda: SupCon(temperature=0.2),
    "siglip": lambda: SigLIP(temperature=0.2, bias=-1.0),
    "align_uniform": lambda: AlignUniform(sharpness=0.5),
}


def pairs_for(name, queries, keys, labels=None, negatives=None, owner=None):
    """The pairs a loss of the catalogue takes, from aligned sides."""
    if name == "supcon":
        return Pairs.labelled(queries, labels)
    pairs = Pairs.aligned(queries, keys)
    return pairs if negatives is None else pairs.with_negatives(negatives, owner)


def ring_pairs_for(name, queries, keys, labels, ring):
    """The same on a ring: local vectors, global relations."""
    n = ring.row_starts[-1]
    if name == "supcon":
        return Pairs(queries, queries, Match(labels, labels, others_only=True), excluded=(Diagonal(0, n),), ring=ring)
    return Pairs(queries, keys, Diagonal(0, n), ring=ring)
