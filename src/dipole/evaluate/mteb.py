"""A bridge to MTEB: runs its tasks, by its code and definitions, on an encoder of ours, where ``mteb`` and its data are there.

``dipole evaluate MODEL --task mteb:STS12``. MTEB (2.0 or newer) fetches its data from a hub unless they are in its cache; it gives
no intervals and no per-item table, so neither does the bridge.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from dipole.core.errors import DipoleError, UsageError
from dipole.core.extras import need
from dipole.evaluate.result import Result
from dipole.evaluate.vectors import Encode

Sided = Callable[[str], Encode]  # "queries", "keys" or "" -> how items of this side are encoded
_SIDES = {"query": "queries", "document": "keys", "passage": "keys"}
_NOT_FIGURES = {"hf_subset", "languages", "main_score"}


class MTEBEncoder:
    """What MTEB calls an encoder: ``encode`` of batches of inputs, and cosine similarities.

    ``sided("queries")`` encodes MTEB's queries, ``sided("keys")`` its documents, ``sided("")`` everything else.
    """

    def __init__(self, sided: Sided, name: str, revision: str = "") -> None:
        meta = need("mteb.models", "mteb", "running MTEB tasks").ModelMeta
        self._sided = sided
        # MTEB wants OWNER/NAME, and writes it into paths.
        self.mteb_model_meta = meta.create_empty(overwrites={"name": f"dipole/{name.replace('/', '__')}", "revision": revision or "local"})

    def encode(self, inputs: Any, *, prompt_type: Any = None, **kwargs: Any) -> np.ndarray[Any, Any]:
        """(N, d) float32 for a loader of batches, each a mapping with a list of ``text``."""
        texts: list[str] = []
        for batch in inputs:
            if "text" not in batch:
                raise UsageError(f"MTEB asks for inputs other than text ({', '.join(batch)}), which this encoder does not take")
            texts += batch["text"]
        side = _SIDES.get(str(getattr(prompt_type, "value", prompt_type)), "")
        found: np.ndarray[Any, Any] = np.asarray(self._sided(side)(texts), dtype=np.float32)
        return found

    def similarity(self, first: Any, second: Any) -> torch.Tensor:
        """Cosines of all rows with all rows. MTEB asks for them a block at a time."""
        return _unit(first) @ _unit(second).T

    def similarity_pairwise(self, first: Any, second: Any) -> torch.Tensor:
        """(N,) cosine of each row with the same row of the other."""
        return (_unit(first) * _unit(second)).sum(-1)


class MTEBTasks:
    """The kind of task that MTEB measures; its place is the name of one of MTEB's tasks."""

    def read(self, place: str, name: str = "") -> Any:
        """The task. Raises MissingExtraError without ``mteb``, UsageError where it is too old or has no task of that name."""
        mteb = need("mteb", "mteb", "running MTEB tasks")
        if not hasattr(mteb, "evaluate"):
            raise UsageError(f"running MTEB tasks needs mteb 2.0 or newer, got {getattr(mteb, '__version__', 'an unknown version')}")
        try:
            return mteb.get_task(place)
        except KeyError as error:
            raise UsageError(f"mteb has no task {place!r}: {str(error.args[0] if error.args else error).splitlines()[0]}") from None

    def __call__(self, task: Any, sided: Sided, model: str, revision: str, name: str = "", batch_size: int = 32) -> Result:
        """Run the task. Raises DipoleError where MTEB could not, for example because its data are not there."""
        mteb = need("mteb", "mteb", "running MTEB tasks")
        encoder = MTEBEncoder(sided, model, revision)
        title = task.metadata.name
        try:
            found = mteb.evaluate(
                encoder, tasks=[task], cache=None, encode_kwargs={"batch_size": batch_size}, show_progress_bar=False, co2_tracker=False
            )
        except (OSError, ConnectionError, ValueError) as error:
            raise DipoleError(f"mteb could not run {title}: {(str(error) or type(error).__name__).splitlines()[0]}") from error
        result = found.task_results[0]
        split, subsets = next(iter(result.scores.items()))
        metrics = {"main_score": float(np.mean([subset["main_score"] for subset in subsets]))}
        for key in sorted(set.intersection(*(set(subset) for subset in subsets)) - _NOT_FIGURES):
            if all(isinstance(subset[key], (int, float)) and not isinstance(subset[key], bool) for subset in subsets):
                metrics[key] = float(np.mean([subset[key] for subset in subsets]))
        version = getattr(mteb, "__version__", "of an unknown version")
        mean = f", mean over {len(subsets)} subsets" if len(subsets) > 1 else ""
        definition = {key: f"{key} of the {split} split of MTEB's task {title}, as mteb {version} computes it{mean}" for key in metrics}
        definition["main_score"] += f"; here {task.metadata.main_score}"
        counts = {"subsets": len(subsets)}
        notes = ("MTEB gives no intervals and no per-item table",)
        policy = {"protocol": f"mteb {version}, its own code throughout; the similarity is the cosine"}
        return Result(name or f"mteb:{title}", "mteb", "main_score", metrics, {}, definition, {}, "subsets", counts, policy, 0, notes)


def _unit(vectors: Any) -> torch.Tensor:
    held = torch.as_tensor(vectors).float()
    return torch.nn.functional.normalize(held if held.dim() == 2 else held[None], dim=-1)
