"""A model that many threads ask at once: one thread encodes, all texts that wait in one go, and remembers the last ones.

A tokenizer may not be used by two threads at a time, and one pass over 16 short texts costs a fraction of 16 passes.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

import torch

from dipole.core.errors import DipoleError
from dipole.search.documents import Embedder
from dipole.serve.recent import Recent

_TOGETHER = 32  # texts encoded in one go
_REMEMBERED = 4096  # vectors of queries kept: 6 MB at 384 dimensions


class Batched:
    """An :class:`~dipole.search.documents.Embedder` over another one, safe to call from any thread."""

    def __init__(self, model: Embedder, remember: int = _REMEMBERED) -> None:
        if isinstance(model, torch.nn.Module):
            model.eval()
        self.inner, self.model, self.identity = model, model.model, model.identity
        self.hits = self.misses = self.batches = 0
        self._known: Recent[tuple[str, str], torch.Tensor] = Recent(remember)
        self._lock = threading.Lock()  # of the counts
        self._waiting: queue.SimpleQueue[tuple[str, str, Future[torch.Tensor]] | None] = queue.SimpleQueue()
        self._closed = False
        self.dimension = int(model.encode(["warm"], side="queries").shape[1])
        self._thread = threading.Thread(target=self._work, name="dipole-encode", daemon=True)
        self._thread.start()

    def encode(self, items: Sequence[str], batch_size: int = 32, progress: bool = False, side: str = "") -> torch.Tensor:
        """(N, d) float32 on the CPU, in the order given. Waits until a batch had room for the texts."""
        if self._closed:
            raise DipoleError("the model was stopped")
        asked: list[torch.Tensor | Future[torch.Tensor]] = []
        for text in items:
            known = self._known.get((side, text))
            with self._lock:
                self.hits, self.misses = self.hits + (known is not None), self.misses + (known is None)
            if known is not None:
                asked.append(known)
                continue
            future: Future[torch.Tensor] = Future()
            self._waiting.put((side, text, future))
            asked.append(future)
        found = [one.result() if isinstance(one, Future) else one for one in asked]
        return torch.stack(found) if found else torch.empty(0, self.dimension)

    def close(self) -> None:
        """End the thread; what waits is answered first."""
        if not self._closed:
            self._closed = True
            self._waiting.put(None)
            self._thread.join(timeout=10)

    def _work(self) -> None:
        while True:
            first = self._waiting.get()
            if first is None:
                return
            batch, last = [first], False
            while len(batch) < _TOGETHER and not last:
                try:
                    one: Any = self._waiting.get_nowait()
                except queue.Empty:
                    break
                if one is None:
                    last = True
                else:
                    batch.append(one)
            for side in dict.fromkeys(side for side, _, _ in batch):
                self._encode(side, [(text, future) for s, text, future in batch if s == side])
            if last:
                return

    def _encode(self, side: str, asked: list[tuple[str, Future[torch.Tensor]]]) -> None:
        texts = list(dict.fromkeys(text for text, _ in asked))
        try:
            vectors = dict(zip(texts, self.inner.encode(texts, batch_size=_TOGETHER, side=side), strict=True))
        except BaseException as error:
            for text in texts if len(texts) > 1 else ():  # one bad text is no reason to fail the others
                self._encode(side, [(text, future) for t, future in asked if t == text])
            for _, future in asked if len(texts) == 1 else ():
                future.set_exception(error)
            return
        self.batches += 1
        for text, vector in vectors.items():
            self._known.put((side, text), vector.clone())
        for text, future in asked:
            future.set_result(vectors[text])
