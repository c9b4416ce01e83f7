"""Terms over what the encoder returned, beside the losses over pairs: each is a scalar of the whole batch."""

# Written by docs/generate.py from the modules there are.
from dipole.regularizers.anisotropy import Anisotropy
from dipole.regularizers.attribute_alignment import AttributeAlignment
from dipole.regularizers.chamfer import Chamfer
from dipole.regularizers.communities import Communities
from dipole.regularizers.covariance import Covariance
from dipole.regularizers.cross_correlation import CrossCorrelation
from dipole.regularizers.cross_entropy import CrossEntropy
from dipole.regularizers.effective_rank import EffectiveRank
from dipole.regularizers.fine_grained import FineGrained
from dipole.regularizers.flow_prior import FlowPrior
from dipole.regularizers.fusion import Fusion
from dipole.regularizers.joint_entropy import JointEntropy
from dipole.regularizers.masked_agreement import MaskedAgreement
from dipole.regularizers.matched import Matched
from dipole.regularizers.mean_entropy import MeanEntropy
from dipole.regularizers.salient import Salient
from dipole.regularizers.star_convex import StarConvex
from dipole.regularizers.structure import Structure
from dipole.regularizers.variance import Variance
from dipole.regularizers.voted_pairs import VotedPairs

__all__ = [
    "Anisotropy",
    "AttributeAlignment",
    "Chamfer",
    "Communities",
    "Covariance",
    "CrossCorrelation",
    "CrossEntropy",
    "EffectiveRank",
    "FineGrained",
    "FlowPrior",
    "Fusion",
    "JointEntropy",
    "MaskedAgreement",
    "Matched",
    "MeanEntropy",
    "Salient",
    "StarConvex",
    "Structure",
    "Variance",
    "VotedPairs",
]
