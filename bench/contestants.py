"""The same work done by the engine, by dense PyTorch, by bare matrix products, and by the libraries people use today.

Every function takes leaf tensors and returns the loss; whoever times it calls ``backward``. Peers are run as their users
would run them on vectors; where a library does other work (two views, both directions), the engine is timed on that work.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F

from dipole import Pairs
from dipole.losses import DCL, InfoNCE, SigLIP, SupCon
from dipole.pairwise.scores.cosine import Cosine

Run = Callable[["Inputs"], torch.Tensor]


@dataclass
class Inputs:
    """Two aligned sides of unit vectors and labels, eight to a class."""

    q: torch.Tensor
    k: torch.Tensor
    labels: torch.Tensor

    @staticmethod
    def make(batch: int, dim: int, seed: int, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Inputs:
        gen = torch.Generator().manual_seed(seed)
        q = F.normalize(torch.randn(batch, dim, generator=gen), dim=1)
        k = F.normalize(q + torch.randn(batch, dim, generator=gen) / math.sqrt(dim), dim=1)
        labels = torch.randint(0, max(1, batch // 8), (batch,), generator=gen)
        return Inputs(q.to(device, dtype).requires_grad_(), k.to(device, dtype).requires_grad_(), labels.to(device))

    def clear(self) -> None:
        self.q.grad = self.k.grad = None


def engine_infonce(x: Inputs) -> torch.Tensor:
    return InfoNCE(temperature=0.05, two_sided=True)(Pairs.aligned(x.q, x.k)).mean()


def engine_supcon(x: Inputs) -> torch.Tensor:
    return SupCon(temperature=0.1)(Pairs.labelled(x.q, x.labels)).mean()


def engine_siglip(x: Inputs) -> torch.Tensor:
    loss = SigLIP(temperature=0.1, bias=-10.0).to(x.q.device)
    return loss(Pairs.aligned(x.q, x.k)).mean()


def engine_dcl(x: Inputs) -> torch.Tensor:
    return DCL(temperature=0.1)(Pairs.aligned(x.q, x.k)).mean()


def dense_infonce(x: Inputs) -> torch.Tensor:
    logits = x.q @ x.k.T / 0.05
    target = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def dense_supcon(x: Inputs) -> torch.Tensor:
    logits = x.q @ x.q.T / 0.1
    itself = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
    mates = (x.labels[:, None] == x.labels[None, :]) & ~itself
    log_p = logits - logits.masked_fill(itself, -math.inf).logsumexp(1, keepdim=True)
    count = mates.sum(1)
    return torch.where(count > 0, -(log_p * mates).sum(1) / count.clamp(min=1), 0.0).mean()


def dense_siglip(x: Inputs) -> torch.Tensor:
    scale = torch.tensor(math.log(10.0), device=x.q.device, requires_grad=True)
    bias = torch.tensor(-10.0, device=x.q.device, requires_grad=True)
    logits = x.q @ x.k.T * scale.exp() + bias
    sign = 2 * torch.eye(len(logits), device=logits.device) - 1
    return -F.logsigmoid(sign * logits).sum() / len(logits)


def dense_dcl(x: Inputs) -> torch.Tensor:
    logits = x.q @ x.k.T / 0.1
    itself = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
    return (logits.masked_fill(itself, -math.inf).logsumexp(1) - logits.diagonal()).mean()


ENGINE: dict[str, Run] = {"infonce": engine_infonce, "supcon": engine_supcon, "siglip": engine_siglip, "dcl": engine_dcl}
DENSE: dict[str, Run] = {"infonce": dense_infonce, "supcon": dense_supcon, "siglip": dense_siglip, "dcl": dense_dcl}


def four_products(x: Inputs) -> None:
    """The bare arithmetic of a streamed loss: scores, scores again, and one product for each side's gradient."""
    with torch.no_grad():
        scores = x.q @ x.k.T
        torch.mm(x.q, x.k.T, out=scores)
        _ = scores @ x.k, scores.T @ x.q


# -- peers: what each computes, and the engine on the same work ------------------------------------------------------------


def _pml_supcon() -> Run:
    from pytorch_metric_learning.distances import DotProductSimilarity
    from pytorch_metric_learning.losses import SupConLoss

    loss = SupConLoss(temperature=0.1, distance=DotProductSimilarity(normalize_embeddings=False))
    return lambda x: loss(x.q, x.labels)


def _lightly_dcl() -> Run:
    home = importlib.util.find_spec("lightly")
    if home is None or home.origin is None:
        raise ModuleNotFoundError("No module named 'lightly'")
    # the file alone: the package's own import wants torchvision, of which there is no CPU build everywhere
    spec = importlib.util.spec_from_file_location("lightly_dcl_loss", Path(home.origin).parent / "loss" / "dcl_loss.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    loss = module.DCLLoss(temperature=0.1)
    return lambda x: loss(x.q, x.k)


def _engine_dcl_both_views(x: Inputs) -> torch.Tensor:
    own = torch.arange(len(x.q), device=x.q.device)
    there = Pairs.aligned(x.q, x.k, score=Cosine()).with_negatives(x.q, copy_of=own)
    back = Pairs.aligned(x.k, x.q, score=Cosine()).with_negatives(x.k, copy_of=own)
    loss = DCL(temperature=0.1)
    return (loss(there).mean() + loss(back).mean()) / 2


def _st_cached() -> Run:
    from sentence_transformers.sentence_transformer.losses import CachedMultipleNegativesRankingLoss

    loss = CachedMultipleNegativesRankingLoss(torch.nn.Sequential(torch.nn.Identity()), scale=20.0, mini_batch_size=512)
    # as it runs in training: each mini-batch of rows goes backward as soon as it is computed
    return lambda x: loss.calculate_loss([[x.q], [x.k]], with_backward=True)


def _engine_infonce_cosine(x: Inputs) -> torch.Tensor:
    return InfoNCE(temperature=0.05)(Pairs.aligned(x.q, x.k, score=Cosine())).mean()


PEERS: dict[str, tuple[Callable[[], Run], Run]] = {
    "pytorch-metric-learning SupConLoss": (_pml_supcon, engine_supcon),
    "lightly DCLLoss": (_lightly_dcl, _engine_dcl_both_views),
    "sentence-transformers CachedMultipleNegativesRankingLoss": (_st_cached, _engine_infonce_cosine),
}
