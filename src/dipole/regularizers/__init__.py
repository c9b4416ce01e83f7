"""Terms over what the encoder returned, beside the losses over pairs: each is a scalar of the whole batch."""

# Written by docs/generate.py from the modules there are.
from dipole.regularizers.anisotropy import Anisotropy
from dipole.regularizers.covariance import Covariance
from dipole.regularizers.cross_correlation import CrossCorrelation
from dipole.regularizers.effective_rank import EffectiveRank
from dipole.regularizers.structure import Structure
from dipole.regularizers.variance import Variance

__all__ = [
    "Anisotropy",
    "Covariance",
    "CrossCorrelation",
    "EffectiveRank",
    "Structure",
    "Variance",
]
