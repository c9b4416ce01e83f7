"""One line of the log: what a step did, in plain numbers."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from dipole.train.objective import Objective


def record_of(done: int, per_epoch: int, loss: float, rate: float, norm: float, objective: Objective, lonely: float) -> dict[str, Any]:
    """``done``: steps with this one. ``log_candidates``: log M, what softmax losses start from and sit at where nothing is learned."""
    seen = objective.seen
    assert seen is not None
    record = {"step": done, "epoch": round(done / per_epoch, 4), "loss": loss, "learning_rate": rate, "grad_norm": norm}
    record |= {"rows": seen.rows, "rows_without_positives": int(lonely)}
    if seen.candidates:
        record["log_candidates"] = math.log(seen.candidates)
    if len(seen.losses) > 1:
        record |= {f"losses.{i}": value for i, value in enumerate(seen.losses)}
    record |= {f"losses.{i}.weight": weight for i, weight in enumerate(seen.weights)}
    for name, part in objective.named_parts():
        temperature = getattr(part, "temperature", None)
        if isinstance(temperature, torch.Tensor):
            record["temperature" if name == "score" else f"{name}.temperature"] = float(temperature.detach())
        elif isinstance(part, nn.Module):
            record |= {f"{name}.{n}": float(p.detach()) for n, p in part.named_parameters() if p.numel() == 1}
    return record
