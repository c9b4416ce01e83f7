"""The streaming pairwise engine: write what one tile of the score matrix means; the N x M matrix never exists."""

from dipole.core.scores import Channel
from dipole.pairwise.reduce import (
    estimate,
    logmeanexp_total,
    logsumexp_negatives,
    logsumexp_rows,
    max_rows,
    mean_rows,
    reduce,
    sum_rows,
    topk_rows,
    using,
)
from dipole.pairwise.reductions import Count, Histogram, LogMeanExp, LogSumExp, Max, Mean, Reduction, Sum, Top, TopK
from dipole.pairwise.tile import Tile, scores_as_they_are
from dipole.pairwise.topk import topk_search

__all__ = [
    "Channel",
    "Count",
    "Histogram",
    "LogMeanExp",
    "LogSumExp",
    "Max",
    "Mean",
    "Reduction",
    "Sum",
    "Tile",
    "Top",
    "TopK",
    "estimate",
    "logmeanexp_total",
    "logsumexp_negatives",
    "logsumexp_rows",
    "max_rows",
    "mean_rows",
    "reduce",
    "scores_as_they_are",
    "sum_rows",
    "topk_rows",
    "topk_search",
    "using",
]
