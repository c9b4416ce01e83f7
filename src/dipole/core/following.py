"""A twin of weights that follows them slowly."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import nn

M = TypeVar("M", bound=nn.Module)


def twin_of(module: M) -> M:
    """A copy that never learns by itself."""
    return copy.deepcopy(module).requires_grad_(False)


@torch.no_grad()
def follow(twin: nn.Module, module: nn.Module, stays: float) -> None:
    """twin <- stays * twin + (1 - stays) * module; what is not floating is copied."""
    own = module.state_dict()
    for name, tensor in twin.state_dict().items():
        if tensor.is_floating_point():
            tensor.lerp_(own[name].to(tensor.dtype), 1 - stays)
        else:
            tensor.copy_(own[name])
