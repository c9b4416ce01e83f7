"""One golden file: inputs of official code as leaves, and a check of a loss against its value and gradients."""

import json
from pathlib import Path

import numpy as np
import torch

GOLDEN = Path(__file__).parent / "golden"
EXACT = {"rtol": 1e-6, "atol": 1e-9}


class Case:
    """``tests/golden/STEM.npz``, read. ``meta`` says what was run; ``hyper`` holds the hyperparameters it was run with."""

    def __init__(self, stem):
        self.arrays = np.load(GOLDEN / f"{stem}.npz", allow_pickle=False)
        self.meta = json.loads(str(self.arrays["meta"]))

    @property
    def hyper(self):
        return self.meta["hyper"]

    def leaf(self, name):
        """The input of that name, floating-point ones ready for a gradient."""
        tensor = torch.from_numpy(self.arrays[f"in_{name}"])
        return tensor.requires_grad_() if tensor.is_floating_point() else tensor

    def leaves(self, *names):
        """Several inputs."""
        return [self.leaf(name) for name in names]

    def array(self, key):
        """Any array of the file by its full name (``out_rows``, ``paper_value``), without a gradient."""
        return torch.from_numpy(self.arrays[key])

    def agrees(self, loss, *, value="out_loss", grad="grad_", **leaves):
        """The loss is the official value, and its gradients those of the leaves, given by their names in the file."""
        torch.testing.assert_close(loss, self.array(value), **EXACT)
        grads = torch.autograd.grad(loss, list(leaves.values())) if leaves else ()
        for name, got in zip(leaves, grads, strict=True):
            torch.testing.assert_close(got, self.array(f"{grad}{name}"), **EXACT)
