"""Objectives over pairs: each returns one value per query, (N,), and leaves the mean to the training step."""

# Written by docs/generate.py from the modules there are.
from dipole.losses.around.both_views import BothViews
from dipole.losses.around.class_gated import ClassGated
from dipole.losses.around.each_view import EachView
from dipole.losses.around.graded import Graded
from dipole.losses.around.hardest_only import HardestOnly
from dipole.losses.around.keys_ask import KeysAsk
from dipole.losses.around.learned_weights import LearnedWeights
from dipole.losses.around.own_only import OwnOnly
from dipole.losses.around.propensity import Propensity
from dipole.losses.around.whitened import Whitened
from dipole.losses.around.without_equal import WithoutEqual
from dipole.losses.around.without_similar import WithoutSimilar
from dipole.losses.geometry.align_uniform import AlignUniform
from dipole.losses.geometry.cacr import CACR
from dipole.losses.geometry.cross_uniform import CrossUniform
from dipole.losses.geometry.linear_contrast import LinearContrast
from dipole.losses.geometry.predicted_twin import PredictedTwin
from dipole.losses.geometry.spectral import Spectral
from dipole.losses.margin.batch_hard import BatchHard
from dipole.losses.margin.hardest_hinge import HardestHinge
from dipole.losses.margin.hinge import Hinge
from dipole.losses.margin.margin_pair import MarginPair
from dipole.losses.margin.semi_hard_triplet import SemiHardTriplet
from dipole.losses.multiview.mv_dhel import MVDHEL
from dipole.losses.multiview.mv_infonce import MVInfoNCE
from dipole.losses.multiview.poly_view import PolyView
from dipole.losses.multiview.poly_view_arithmetic import PolyViewArithmetic
from dipole.losses.multiview.poly_view_sufficient import PolyViewSufficient
from dipole.losses.ranking.list_kl import ListKL
from dipole.losses.ranking.list_mle import ListMLE
from dipole.losses.ranking.margin_mse import MarginMSE
from dipole.losses.ranking.pairwise_logistic import PairwiseLogistic
from dipole.losses.ranking.pearson import Pearson
from dipole.losses.ranking.pro import PRO
from dipole.losses.ranking.rank_kl import RankKL
from dipole.losses.sigmoid.class_prototypes import ClassPrototypes
from dipole.losses.sigmoid.ets import ETS
from dipole.losses.sigmoid.focal_sigmoid import FocalSigmoid
from dipole.losses.sigmoid.matching import Matching
from dipole.losses.sigmoid.pairwise_bce import PairwiseBCE
from dipole.losses.sigmoid.siglip import SigLIP
from dipole.losses.softmax.additive_margin import AdditiveMargin
from dipole.losses.softmax.angular_margin import AngularMargin
from dipole.losses.softmax.cwcl import CWCL
from dipole.losses.softmax.dcl import DCL
from dipole.losses.softmax.dclw import DCLW
from dipole.losses.softmax.debiased import Debiased
from dipole.losses.softmax.distilled import Distilled
from dipole.losses.softmax.focal_infonce import FocalInfoNCE
from dipole.losses.softmax.four_block import FourBlock
from dipole.losses.softmax.gml import GML
from dipole.losses.softmax.hn_nce import HNNCE
from dipole.losses.softmax.infonce import InfoNCE
from dipole.losses.softmax.macl import MACL
from dipole.losses.softmax.per_positive import PerPositive
from dipole.losses.softmax.proto_nce import ProtoNCE
from dipole.losses.softmax.supcon import SupCon
from dipole.losses.softmax.supcon_in import SupConIn
from dipole.losses.softmax.supremix import SupReMix
from dipole.losses.unlearning.laf_alignment import LAFAlignment
from dipole.losses.unlearning.laf_extraction import LAFExtraction

__all__ = [
    "CACR",
    "CWCL",
    "DCL",
    "DCLW",
    "ETS",
    "GML",
    "HNNCE",
    "MACL",
    "MVDHEL",
    "PRO",
    "AdditiveMargin",
    "AlignUniform",
    "AngularMargin",
    "BatchHard",
    "BothViews",
    "ClassGated",
    "ClassPrototypes",
    "CrossUniform",
    "Debiased",
    "Distilled",
    "EachView",
    "FocalInfoNCE",
    "FocalSigmoid",
    "FourBlock",
    "Graded",
    "HardestHinge",
    "HardestOnly",
    "Hinge",
    "InfoNCE",
    "KeysAsk",
    "LAFAlignment",
    "LAFExtraction",
    "LearnedWeights",
    "LinearContrast",
    "ListKL",
    "ListMLE",
    "MVInfoNCE",
    "MarginMSE",
    "MarginPair",
    "Matching",
    "OwnOnly",
    "PairwiseBCE",
    "PairwiseLogistic",
    "Pearson",
    "PerPositive",
    "PolyView",
    "PolyViewArithmetic",
    "PolyViewSufficient",
    "PredictedTwin",
    "Propensity",
    "ProtoNCE",
    "RankKL",
    "SemiHardTriplet",
    "SigLIP",
    "Spectral",
    "SupCon",
    "SupConIn",
    "SupReMix",
    "Whitened",
    "WithoutEqual",
    "WithoutSimilar",
]
