"""Losses that put candidates in the order a teacher or grades give."""

from dipole.losses import PRO, ListKL, ListMLE, MarginMSE, PairwiseLogistic, Pearson, RankKL
from tests.catalogue.case import Case

LAID_OUT = {"test_compiled_equals_eager": "a row's own list is laid out and sorted, so there is no tile to fuse"}
ONE_A_PAIR = {"test_compiled_equals_eager": "reads one score a pair, so there is no tile to fuse"}
CASES = {
    "pairwise_logistic": Case(lambda: PairwiseLogistic(temperature=0.3)),
    "list_kl": Case(lambda: ListKL(temperature=0.3, teacher_temperature=0.2), pairs="listed", exempt=LAID_OUT),
    "list_mle": Case(lambda: ListMLE(temperature=0.3), pairs="listed", exempt=LAID_OUT),
    "margin_mse": Case(lambda: MarginMSE(), pairs="listed", extreme=None, exempt=LAID_OUT),
    "pearson": Case(lambda: Pearson(), pairs="scored", extreme=None, exempt=ONE_A_PAIR),
    "rank_kl": Case(lambda: RankKL(temperature=0.3), pairs="scored", exempt=ONE_A_PAIR),
    "pro": Case(lambda: PRO(temperature=0.3), pairs="scored"),
}
