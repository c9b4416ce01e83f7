"""How big the demo is. The figures behind these numbers are in bench/results/demo*.json."""

from __future__ import annotations

from dataclasses import dataclass

QUERIES = ("parse the command line into options", "send an e-mail with an attachment", "wait until a thread has finished")


@dataclass(frozen=True)
class Settings:
    """``train_rows`` 0: all; ``collection_rows`` 0: all."""

    held_out: int = 800
    train_rows: int = 2560
    collection_rows: int = 0
    epochs: float = 1.0
    batch_size: int = 64
    micro_batch_size: int = 16
    learning_rate: float = 1e-4
    temperature: float = 0.05
    max_tokens: int = 64
    seed: int = 0

    def text(self, data: str) -> str:
        """What a run folder keeps of them, as TOML."""
        lines = [f"{name} = {value}" for name, value in vars(self).items()]
        return "\n".join(["# dipole demo: symmetric InfoNCE on (docstring, body) pairs", f"data = '{data}'", *lines]) + "\n"


FULL = Settings()
FAST = Settings(held_out=320, train_rows=640, collection_rows=400)
