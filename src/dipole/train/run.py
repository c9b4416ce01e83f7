"""The training loop: from a recipe to a run folder.

    recipe.toml    what was run, every default filled in
    log.jsonl      one line a step
    checkpoints/   step-N/, the last few
    summary.json   how it ended
    model/         the trained encoder, written last

>>> # train(recipe, Path("runs/first"))   # see dipole.assembly for how a recipe is read from TOML
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dipole.core.errors import CheckpointError, DipoleError, UsageError
from dipole.core.extras import need
from dipole.core.files import replace_text
from dipole.core.protocols import Batch
from dipole.train import checkpoint as ckpt
from dipole.train.batches import share
from dipole.train.cache import Done
from dipole.train.doctor.locate import first_bad
from dipole.train.doctor.watch import Doctor
from dipole.train.interrupts import interrupts
from dipole.train.log import Log, Progress
from dipole.train.objective import Objective
from dipole.train.ranks import average_gradients, objective_of, total
from dipole.train.recipe import Recipe
from dipole.train.record import record_of
from dipole.train.rng import RandomState, seed_everything
from dipole.train.rows import Joined
from dipole.train.step import Tower, backward, encode_with


@dataclass(frozen=True)
class RunSummary:
    """How a run ended. ``losses``: first and last of the log; ``model``: the folder, empty where the encoder cannot save."""

    output_dir: str
    steps: int
    epochs: float
    rows: int
    seconds: float
    losses: tuple[float, float]
    model: str
    truncated: str
    alarms: tuple[str, ...]

    def json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "losses": list(self.losses), "alarms": list(self.alarms)}


def train(
    recipe: Recipe,
    output_dir: str | Path,
    *,
    resume: bool = False,
    keep: int = 2,
    show: bool = True,
    fabric: Any = None,
    doctor: Doctor | None = None,
) -> RunSummary:
    """Run a recipe. ``keep``: checkpoints kept. ``show``: progress on stderr. ``fabric``: one of your own (one device or DDP).
    ``doctor``: who watches and when to stop; left out: it is read every 10 steps, and only a NaN ends the run.

    Ctrl-C ends the step at hand, saves a checkpoint, says how to go on and raises KeyboardInterrupt; twice stops at once.
    Raises UsageError where the folder holds another run, CheckpointError where a checkpoint is broken, DipoleError for a loss that
    is not finite and for an alarm the doctor stops on.
    """
    began = time.perf_counter()
    output, step = Path(output_dir), recipe.step
    rows = Joined(recipe.rows)
    plan = recipe.batches.plan(rows.lengths, step.batch_size, step.seed, rows)
    steps = step.steps(plan.steps_per_epoch)
    _claim(output, recipe, resume)

    fabric = fabric or new_fabric(step.precision)
    fabric.launch()
    rank, world = int(fabric.global_rank), int(fabric.world_size)
    seed_everything(step.seed, rank)

    encoder = recipe.encoder
    if not isinstance(encoder, nn.Module):
        raise UsageError("train: the encoder must be a torch.nn.Module")
    objective = objective_of(recipe, world)
    objective.to(fabric.device)
    encoder.train()
    follow: Callable[[int, int], None] = getattr(encoder, "after_step", lambda step, steps: None)
    tower = fabric.setup_module(Tower(encoder, objective.fields))
    if any(hasattr(p, "full_tensor") for p in tower.parameters()) or "FSDP" in type(fabric.strategy).__name__:
        raise UsageError(
            "train: checkpoints of sharded encoders are not written yet; use DDP, or train.step.backward in a loop of your own"
        )
    learned = [p for p in (*tower.parameters(), *objective.parameters()) if p.requires_grad]
    if not learned:
        raise UsageError("train: nothing to learn: every parameter is frozen")
    optimizer = fabric.setup_optimizers(torch.optim.AdamW(_groups(learned, step.weight_decay), lr=step.learning_rate))

    done = 0
    if resume and ckpt.steps_in(output):
        done = restore(ckpt.load(output), output, encoder, objective, optimizer, recipe, rank)
    log = Log(output / "log.jsonl", keep_below=done) if rank == 0 else None
    progress = Progress(steps, done, show and rank == 0)
    doctor = doctor or Doctor()
    named = [*encoder.named_parameters(), *objective.named_parameters()]
    doctor.begin(step, steps, named, objective, done, log.records if log else [])

    def attempt(mine: torch.Tensor) -> tuple[Batch, Done]:
        batch = recipe.views([rows[i] for i in mine.tolist()])
        return batch, backward(
            encode_with(tower),
            encoder,
            objective,
            batch,
            step.micro_batch_size,
            device=fabric.device,
            differentiate=fabric.backward,
            unsynced=(lambda: fabric.no_backward_sync(tower)) if world > 1 else None,
        )

    with interrupts() as asked, ExitStack() as opened:
        opened.callback(progress.close)
        if log is not None:
            opened.callback(log.close)
        while done < steps:
            start, before = time.perf_counter(), doctor.before(done + 1, objective)
            mine = share(plan.batch(done), rank, world)
            batch, result = attempt(mine)
            average_gradients(objective.parameters(), world)
            assert objective.seen is not None
            numbers = [float(result.loss) / world, objective.seen.rows_without_positives, float(asked.is_set()), float(doctor.stops)]
            loss, lonely, stop, halt, *times = total([*numbers, doctor.pace.spent, doctor.pace.elapsed], world, fabric.device)
            doctor.pace.agree(*times)
            norm = float(nn.utils.clip_grad_norm_(learned, step.max_grad_norm or math.inf))
            if not (math.isfinite(loss) and math.isfinite(norm)):
                where, in_weights = _first_bad(partial(attempt, mine), before, encoder, objective, optimizer)
                alarm = doctor.not_finite(loss, norm, where)
                if log is not None:
                    log.write({"step": done + 1, "loss": None, "grad_norm": None, "alarms": [str(alarm)]})
                if kept := done > 0 and not in_weights:
                    save(output, done, encoder, objective, optimizer, recipe, fabric, keep)
                held = f"; {ckpt.folder_of(output, done)}, the state before it, is saved" if kept else ""
                raise DipoleError(f"train: step {done + 1}: {alarm.text}; weights were left as they were{held}")
            rate = step.rate(done, steps)
            done += 1
            readings = doctor.read(rate, batch.meta, result)
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
            optimizer.zero_grad()
            objective.after_step()
            follow(done, steps)

            if log is not None:
                record = record_of(done, plan.steps_per_epoch, loss, rate, norm, objective, lonely) | readings
                alarms = doctor.judge(record)
                said = {"alarms": [str(alarm) for alarm in alarms]} if alarms else {}
                log.write({**record, **said, "seconds": round(time.perf_counter() - start, 4)})
                progress.advance(done, record)
                for alarm in alarms:
                    progress.say(f"warning: {alarm}")
            if world == 1 or done == steps:  # else processes agree on it with the next step's numbers
                halt = halt or total([float(doctor.stops)], world, fabric.device)[0]
            if stop or halt or (step.save_steps and (done % step.save_steps == 0 or done == steps)):
                save(output, done, encoder, objective, optimizer, recipe, fabric, keep)
            if halt:
                why = doctor.why or "an alarm of process 0, in its log"
                raise DipoleError(
                    f"train: stopped after step {done} of {steps}: {why}; {ckpt.folder_of(output, done)} is saved; to go on all the "
                    "same: the same command with --resume and without that alarm in --stop-on"
                )
            if stop and done < steps:
                progress.close()
                if rank == 0:
                    print(f"stopped after step {done} of {steps}; {ckpt.folder_of(output, done)} is saved", file=sys.stderr)
                    print("to go on: the same command with --resume", file=sys.stderr)
                raise KeyboardInterrupt

    return _finish(recipe, output, log, steps, plan.steps_per_epoch, len(rows), time.perf_counter() - began, fabric)


def new_fabric(precision: str, strategy: str = "") -> Any:
    """Fabric for one device, or for the processes torchrun or SLURM started (DDP unless told otherwise)."""
    fabric = need("lightning_fabric", "train", "training")
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    world = int(os.environ.get("WORLD_SIZE", "1"))
    several = strategy or ("ddp" if world > 1 else "auto")
    return fabric.Fabric(devices=here, num_nodes=max(1, world // here), strategy=several, precision=precision)


def save(output: Path, done: int, encoder: nn.Module, objective: Objective, optimizer: Any, recipe: Recipe, fabric: Any, keep: int) -> None:
    """Write ``checkpoints/step-N`` (process 0 writes, all give their random states)."""
    states = RandomState.now().tensors
    if fabric.world_size > 1:
        gathered = fabric.all_gather({name: t.to(fabric.device) for name, t in states.items()})
        every: dict[str, ckpt.Tensors] = {f"rng-{r}": {n: t[r].cpu() for n, t in gathered.items()} for r in range(fabric.world_size)}
    else:
        every = {"rng-0": states}
    if fabric.global_rank == 0:
        tensors: dict[str, ckpt.Tensors] = dict(every)
        tensors["model"] = dict(encoder.state_dict())
        tensors["objective"] = dict(objective.state_dict())
        tensors["optimizer"] = ckpt.optimizer_tensors(optimizer.optimizer)
        values = {"data": Joined(recipe.rows).fingerprint, "seed": recipe.step.seed, "batch_size": recipe.step.batch_size}
        ckpt.save(output, ckpt.Checkpoint(done, tensors, values), keep)
    fabric.barrier()


def restore(
    found: ckpt.Checkpoint, output: Path, encoder: nn.Module, objective: Objective, optimizer: Any, recipe: Recipe, rank: int
) -> int:
    """Put everything back to where the checkpoint was taken; the number of steps done."""
    where = str(ckpt.folder_of(output, found.step))
    now = Joined(recipe.rows).fingerprint
    if found.values["data"] != now:
        raise CheckpointError(f"{where}: was trained on other data than what is given now; give the same data, or start in a new folder")
    ckpt.restore_module(encoder, found.tensors["model"], where)
    ckpt.restore_module(objective, found.tensors.get("objective", {}), where)
    ckpt.restore_optimizer(optimizer.optimizer, found.tensors["optimizer"])
    if f"rng-{rank}" in found.tensors:
        RandomState(found.tensors[f"rng-{rank}"]).restore()
    else:  # more processes than before
        seed_everything(recipe.step.seed, rank, found.step)
    return found.step


def _claim(output: Path, recipe: Recipe, resume: bool) -> None:
    """Check the folder, and write the recipe into it, before any work begins."""
    written = output / "recipe.toml"
    if (output / "log.jsonl").exists() or ckpt.steps_in(output):
        if not resume:
            raise UsageError(f"{output}: holds a run already; add --resume to go on with it, or choose another folder")
        if recipe.text and written.exists() and (before := written.read_text(encoding="utf-8")) != recipe.text:
            old, new = before.splitlines(), recipe.text.splitlines()
            first = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
            changed = f"{old[first] if first < len(old) else '(nothing)'!r} became {new[first] if first < len(new) else '(nothing)'!r}"
            remedy = "undo that, or start in a new folder"
            raise UsageError(f"{written}:{first + 1}: the recipe changed since the run began: {changed}; {remedy}")
    output.mkdir(parents=True, exist_ok=True)
    replace_text(written, recipe.text)


def _groups(parameters: list[nn.Parameter], decay: float) -> list[dict[str, Any]]:
    """Matrices decay; biases, norms and learned scalars do not."""
    matrices = [p for p in parameters if p.dim() > 1]
    rest = [p for p in parameters if p.dim() <= 1]
    return [g for g in ({"params": matrices, "weight_decay": decay}, {"params": rest, "weight_decay": 0.0}) if g["params"]]


def _first_bad(
    again: Callable[[], object], before: RandomState, encoder: nn.Module, objective: Objective, optimizer: Any
) -> tuple[str, bool]:
    """Run a failed step again to name its first bad tensor (and whether it is a weight); afterwards all is as before the step."""
    objective.watched_by = None
    before.restore()
    optimizer.zero_grad()
    found = first_bad({"encoder": encoder, "": objective}, again)
    before.restore()
    optimizer.zero_grad()
    return found


def _finish(
    recipe: Recipe, output: Path, log: Log | None, steps: int, per_epoch: int, rows: int, seconds: float, fabric: Any
) -> RunSummary:
    encoder: Any = recipe.encoder
    encoder.eval()
    model = ""
    losses = (math.nan, math.nan)
    said: tuple[str, ...] = ()
    if log is not None:
        said = tuple(dict.fromkeys(alarm for record in log.records for alarm in record.get("alarms", ())))
        losses = (log.records[0]["loss"], log.records[-1]["loss"]) if log.records else losses
        if hasattr(encoder, "save"):
            encoder.save(output / "model")
            model = str(output / "model")
    truncated = str(encoder.truncated) if hasattr(encoder, "truncated") else ""
    summary = RunSummary(str(output), steps, round(steps / per_epoch, 4), rows, round(seconds, 2), losses, model, truncated, said)
    if log is not None:
        replace_text(output / "summary.json", json.dumps(summary.json(), indent=1) + "\n")
    fabric.barrier()
    return summary
