"""An encoder for workers on a cluster: quick; who first sees one marked text is killed as the kernel kills; another one holds it up."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from dipole.modality.truncation import Truncation


class Letters:
    """A text's vector is drawn from a generator seeded by the text."""

    model, dimension, limit = "letters", 8, 99

    def __init__(self, deadly: str = "", once: str = "", identity: str = "letters", endless: str = "") -> None:
        self.deadly, self.once, self.identity, self.endless = deadly, once, identity.ljust(64, "0"), endless
        self.truncated = Truncation(99)

    def encode(self, items: Sequence[str], batch_size: int = 32, progress: bool = False, side: str = "") -> torch.Tensor:
        if self.deadly in items and self.deadly:
            with_a_mark = Path(self.once)
            if not with_a_mark.exists():
                with_a_mark.write_text(str(os.getpid()))
                os.kill(os.getpid(), signal.SIGKILL)
        while self.endless and self.endless in items:
            time.sleep(0.1)
        rows = [torch.randn(8, generator=torch.Generator().manual_seed(_seed(text))) for text in items]
        return torch.nn.functional.normalize(torch.stack(rows), dim=1)


def _seed(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=7).digest(), "big")
