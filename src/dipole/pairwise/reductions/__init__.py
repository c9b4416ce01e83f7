"""The reductions the engine knows. One pass over the tiles computes any number of them."""

from dipole.pairwise.reductions.base import Reduction
from dipole.pairwise.reductions.histogram import Histogram
from dipole.pairwise.reductions.logsumexp import LogMeanExp, LogSumExp
from dipole.pairwise.reductions.sums import Count, Mean, Sum
from dipole.pairwise.reductions.tops import Max, Top, TopK

__all__ = ["Count", "Histogram", "LogMeanExp", "LogSumExp", "Max", "Mean", "Reduction", "Sum", "Top", "TopK"]
