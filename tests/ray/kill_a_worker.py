"""An encoder for workers on a cluster: quick; who sees one marked text first is killed as the kernel kills (without a mark to leave:
whoever sees it); another text holds it up."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from dipole.core.errors import MissingExtraError
from dipole.modality.truncation import Truncation


class Letters:
    """A text's vector is drawn from a generator seeded by the text."""

    model, dimension, limit = "letters", 8, 99

    def __init__(self, deadly: str = "", once: str = "", identity: str = "letters", endless: str = "") -> None:
        self.deadly, self.once, self.identity, self.endless = deadly, once, identity.ljust(64, "0"), endless
        self.truncated = Truncation(99)

    def encode(self, items: Sequence[str], batch_size: int = 32, progress: bool = False, side: str = "") -> torch.Tensor:
        if self.deadly and self.deadly in items and not (self.once and Path(self.once).exists()):
            if self.once:
                Path(self.once).write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGKILL)
        while self.endless and self.endless in items:
            time.sleep(0.1)
        rows = [torch.randn(8, generator=torch.Generator().manual_seed(_seed(text))) for text in items]
        return torch.nn.functional.normalize(torch.stack(rows), dim=1)


class NoModel(Letters):
    """An encoder that is where the work is given out, and not where the workers are."""

    def __init__(self) -> None:
        import ray

        if ray.get_runtime_context().get_actor_id():
            raise MissingExtraError("text", "a model", "there")
        super().__init__()


def _seed(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=7).digest(), "big")
