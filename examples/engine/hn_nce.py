"""HN-NCE: negatives weighted by their own hardness. Two terms, two normalisers, one pass."""

import torch

from dipole import Pairs
from dipole.pairwise import LogSumExp, Tile, reduce


def hn_nce(pairs: Pairs, temperature: float, alpha: float, beta: float) -> torch.Tensor:
    """-log e^s_ii / (alpha e^s_ii + sum_j w_ij e^s_ij), w_ij = (M - 1) softmax_j(beta s_ij) (arXiv:2301.02280, eq. 4); (N,)."""

    def terms(tile: Tile) -> dict[str, torch.Tensor]:
        negatives = tile.fill_positive(tile.scores / temperature, -torch.inf)
        return {"weights": beta * negatives if beta else torch.where(negatives.isinf(), negatives, 0.0), "weighted": (1 + beta) * negatives}

    z = reduce(terms, pairs, weights=LogSumExp("rows", of="weights"), weighted=LogSumExp("rows", of="weighted"))
    hard = torch.log(torch.tensor(pairs.shape[1] - 1.0)) + z.weighted - z.weights  # log sum_j w_ij e^s_ij
    positive = pairs.positive_scores() / temperature
    return (torch.logaddexp(positive + torch.log(torch.tensor(alpha)), hard) if alpha else hard) - positive
