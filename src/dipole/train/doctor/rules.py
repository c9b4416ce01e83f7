"""When a number is an illness: from the log's records to alarms. Each rule looks at several readings, none at a single one.

``docs/doctor.md`` has the thresholds in a table, with what to do.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from dipole.train.doctor.alarms import Alarm
from dipole.train.doctor.history import LATEST, History, Record
from dipole.train.doctor.weights import Weights

IN_A_ROW = 3  # readings
WINDOW = 30  # steps, for what is in every record


@dataclass(frozen=True)
class Run:
    """What does not change during a run.

    ``bounds``: record field -> the lowest value a learned temperature may take. ``pair_loss``: the field that holds the one loss over
    pairs, and its weight; None where there are several or none.
    """

    warmup_steps: int = 0
    bounds: Mapping[str, float] = field(default_factory=dict)
    pair_loss: tuple[str, float] | None = ("loss", 1.0)


def every_step(history: History) -> Iterator[Alarm]:
    """What can be seen on any step: a leap of the gradient norm."""
    record = history.steps[-1]
    now = record["grad_norm"]
    if now <= 10 * history.least_norm:  # most steps
        return
    past = [r["grad_norm"] for r in list(history.steps)[:-1] if r["grad_norm"] > 0]
    if len(past) < 20:
        return
    middle = statistics.median(past)
    logs = [math.log(x / middle) for x in past]
    spread = 1.4826 * statistics.median(abs(x) for x in logs)
    z = math.log(now / middle) / max(spread, 0.1)
    if now > 10 * middle and z > 8:
        said = f"gradient norm {now:.3g} at step {record['step']:.0f}, {now / middle:.0f} times the usual {middle:.3g} (robust z {z:.0f})"
        yield Alarm("spike", f"{said}; lower learning_rate, lengthen warmup, and look at what is in that batch")


def every_few(history: History, run: Run) -> Iterator[Alarm]:
    """Every few steps, read or not: what the numbers of every record say."""
    last = history.last_readings(1)
    if not last or last[-1]["mean_cosine"] < 0.95:  # else the cause is another one
        yield from _at_log_n(history.last(WINDOW), run)
    yield from _vanished(history)
    yield from _temperature(history, run)


def on_reading(history: History) -> Iterator[Alarm]:
    """Everything else, on the steps that were read."""
    last = history.last_readings(IN_A_ROW)
    yield from _saturated(last)
    if len(last) == IN_A_ROW:
        yield from _collapsed(history.first_readings, last)
        yield from _negatives(last)
        yield from _scored_above(history.last_readings(LATEST))
        yield from _alone(last)


def _at_log_n(recent: Sequence[Record], run: Run) -> Iterator[Alarm]:
    if (
        len(recent) < WINDOW
        or recent[0]["step"] <= run.warmup_steps
        or not recent[-1].get("log_candidates")
        or not (run.pair_loss and run.pair_loss[1])
    ):
        return
    name, weight = run.pair_loss
    losses = [r[name] / weight for r in recent]
    if not all(_like_guessing(loss, r) for loss, r in zip(reversed(losses), reversed(recent), strict=True)):
        return
    third = WINDOW // 3
    first, last = losses[:third], losses[-third:]
    if statistics.mean(first) - statistics.mean(last) > 2 * statistics.pstdev(first) / math.sqrt(third):
        return  # slowly, but it falls
    now = recent[-1]["log_candidates"]
    said = f"loss {statistics.mean(losses):.3f} has stayed at log N = {now:.3f} for {WINDOW} steps: nothing is learned"
    yield Alarm("log-n", f"{said}; check that positives belong together, raise learning_rate, or lower temperature")


def _like_guessing(loss: float, record: Record) -> bool:
    """Where a softmax that tells nothing apart puts the loss: all M candidates, or all but the item itself; keys asking N rows."""
    columns = record["log_candidates"]
    rows = math.log(record["rows"]) if record.get("rows", 0) > 1 else columns
    fewest = math.log(max(math.exp(columns) - 1, 1.5))
    return 0.99 * min(fewest, (columns + rows) / 2) <= loss <= 1.01 * columns


def _vanished(history: History) -> Iterator[Alarm]:
    recent = history.last(WINDOW)
    if len(recent) < WINDOW:
        return
    norm = statistics.median(r["grad_norm"] for r in recent)
    loss = statistics.median(abs(r["loss"]) for r in recent)
    start = statistics.median(r["grad_norm"] for r in history.early)
    if norm == 0 or (norm < 1e-3 * start and loss < 1e-3 * max(1.0, recent[-1].get("log_candidates", 0.0))):
        said = f"loss {loss:.2g} and gradient norm {norm:.2g} ({start:.2g} at the start): gradients have vanished"
        yield Alarm("saturation", f"{said}; stop here, or give harder negatives or a larger batch; raise temperature if it is below 0.02")


def _saturated(last: Sequence[Record]) -> Iterator[Alarm]:
    seen = [r for r in last if "sure_and_wrong" in r][-2:]
    wrong = [r["sure_and_wrong"] for r in seen]
    if len(seen) == 2 and statistics.mean(wrong) > 0.05 and all(r["loss"] > 2 * r["log_candidates"] for r in seen):
        high = f"loss {seen[-1]['loss']:.3g} lies far above log N = {seen[-1]['log_candidates']:.2f}"
        said = f"{high}: {wrong[-1]:.0%} of the rows give over 99.9% of the softmax to one wrong candidate"
        yield Alarm("saturation", f"{said}; raise temperature (0.05 is usual for cosines), and normalise vectors or lower their scale")
        return
    few = [r.get("rows_with_gradient", 1.0) for r in last]
    if len(last) == IN_A_ROW and max(few) < 0.1:
        said = f"only {few[-1]:.1%} of the rows get any gradient"
        yield Alarm("saturation", f"{said}; raise temperature or margin, or give harder negatives or a larger batch")


def _temperature(history: History, run: Run) -> Iterator[Alarm]:
    for name in [n for n in history.steps[-1] if n == "temperature" or n.endswith(".temperature")]:
        values = [r[name] for r in history.last(WINDOW) if name in r]
        now, first = values[-1], history.early[0].get(name, values[0])
        bound = run.bounds.get(name, 0.0)
        if bound and len(values) > 1 and max(values[-2:]) <= 1.001 * bound and first > 1.001 * bound:
            said = f"learned {name} has come to its bound {bound:.3g} (from {first:.3g})"
            yield Alarm("temperature", f"{said}; lower its learning rate, fix it, or lower the bound if the loss still falls")
        elif now < 0.005 or now > max(1.0, 3 * first):
            steps = [b - a for a, b in itertools.pairwise(values)]
            steady = len(values) == WINDOW and (all(s > 0 for s in steps) or all(s < 0 for s in steps))
            if steady or now > max(10.0, 3 * first) or now < min(1e-3, first / 3):
                said = f"learned {name} runs away: {values[0]:.3g} -> {now:.3g} within {len(values)} steps, {first:.3g} at the start"
                yield Alarm("temperature", f"{said}; fix it at a value from 0.01 to 0.1, or check that positives belong together")


def _collapsed(early: Sequence[Record], last: Sequence[Record]) -> Iterator[Alarm]:
    cosines = [r["mean_cosine"] for r in last]
    if min(cosines) > 0.95 and cosines[-1] > cosines[0] - 0.005:
        said = f"all vectors point the same way: mean cosine {cosines[-1]:.3f}, effective rank {last[-1]['effective_rank']:.1f}"
        yield Alarm("collapse", f"{said}; lower learning_rate, add negatives or a term that spreads (uniformity), go back to a checkpoint")
        return
    ranks = [r["effective_rank"] for r in last]
    possible = [r["rank_limit"] for r in last]
    if min(possible) < 12:
        return  # few classes or few dimensions: a low rank is what is asked for
    first = max(r["effective_rank"] for r in early)
    few = all(r < 3 for r in ranks)
    fell = all(r < 0.1 * p and r < 0.25 * first for r, p in zip(ranks, possible, strict=True))
    if (few or fell) and ranks[-1] < 1.05 * ranks[0]:
        said = f"vectors use {ranks[-1]:.1f} of {possible[-1]:.0f} possible directions (effective rank; {first:.1f} at the start)"
        yield Alarm("rank", f"{said}: dimensional collapse; lower learning_rate or temperature, add negatives or a whitening term")


def _negatives(last: Sequence[Record]) -> Iterator[Alarm]:
    share = [r["negatives_gradient"] for r in last if "negatives_gradient" in r]
    if len(share) == IN_A_ROW and max(share) < 0.01:
        said = f"the given negatives get {share[-1]:.2%} of the keys' gradient: they teach next to nothing"
        yield Alarm("dead-negatives", f"{said}; mine harder ones with this model, or leave them out and enlarge the batch")
    own = [r["given_positive"] for r in last if "given_positive" in r]
    if len(own) == IN_A_ROW and statistics.mean(own) > 0.01:
        said = f"{statistics.mean(own):.1%} of the given negatives are positives of their own query, by content"
        yield Alarm("false-negatives", f"{said}; clean the file: dipole audit DATA --fix CLEAN")
    copies = [r["copies"] for r in last if "copies" in r]
    if len(copies) == IN_A_ROW and statistics.mean(copies) > 0.1:
        said = (
            f"{statistics.mean(copies):.0%} of a batch's rows are copies of other rows in it, so a batch has fewer negatives than it seems"
        )
        yield Alarm("duplicates", f"{said}; clean the file: dipole audit DATA --fix CLEAN")


def _scored_above(readings: Sequence[Record]) -> Iterator[Alarm]:
    """A row's own negatives above its positive while the model tells all others apart, and training does not change that."""
    recent = [r for r in readings if "own_above" in r and "negatives_above" in r]
    if len(recent) < LATEST // 2:  # pairs are looked at on every second reading
        return
    own, others = [r["own_above"] for r in recent], [r["negatives_above"] for r in recent]
    half = len(recent) // 2
    if min(own) > 0.25 and max(others) < 0.1 and statistics.mean(own[half:]) > 0.9 * statistics.mean(own[:half]):
        said = f"{own[-1]:.0%} of the given negatives score above their row's positive, of all others {others[-1]:.1%}, and it stays so"
        yield Alarm(
            "false-negatives", f"{said}; they may be positives: dipole audit DATA --teacher MODEL, or mine below the positive's score"
        )


def _alone(last: Sequence[Record]) -> Iterator[Alarm]:
    """Rows that nothing attracts."""
    shares = [r["rows_without_positives"] / r["rows"] for r in last if r.get("rows")]
    if len(shares) == IN_A_ROW and min(shares) > 0.5:
        said = f"{shares[-1]:.0%} of a batch's rows have no positive in it, so their loss teaches nothing"
        yield Alarm("no-positive", f"{said}; draw several items of a class into a batch, or raise batch_size")


def frozen(weights: Weights) -> Iterator[Alarm]:
    """On the steps whose weights were looked at: learned parameters without a gradient, or with one and yet standing still."""
    total = len(weights.named)
    silent, still = weights.without_gradient(IN_A_ROW), weights.standing_still(IN_A_ROW)
    if silent:
        said = f"{len(silent)} of {total} learned tensors get no gradient: {_named(silent)}"
        yield Alarm("frozen", f"{said}; look for a detach or an output nobody reads, or freeze them on purpose (requires_grad_(False))")
    elif still:
        said = f"{len(still)} of {total} learned tensors have a gradient but do not move: {_named(still)}"
        yield Alarm("frozen", f"{said}; steps are too small for the number format: raise learning_rate or set precision = 'bf16-mixed'")


def _named(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
