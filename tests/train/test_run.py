"""The loop: it learns, repeats itself exactly, and goes on exactly after any kind of stop."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dipole.core.errors import DegenerateBatchError, DipoleError, UsageError
from dipole.train import checkpoint as ckpt
from dipole.train.batches import Batches
from dipole.train.log import read
from dipole.train.recipe import Recipe
from dipole.train.run import train
from tests.train.stand_in import Sentences, recipe

ROOT = Path(__file__).parents[2]


def weights(of: Recipe) -> list[torch.Tensor]:
    return [*of.encoder.state_dict().values(), *of.score.state_dict().values()]  # type: ignore[attr-defined]


def losses(run: Path) -> list[tuple[int, float, float, float]]:
    return [(r["step"], r["loss"], r["grad_norm"], r["temperature"]) for r in read(run / "log.jsonl")]


def stopped_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C arrives when ``step`` begins; the step is finished all the same."""
    from dipole.train.log import Progress

    before = Progress.advance

    def advance(self: Progress, at: int, record: object) -> None:
        before(self, at, record)  # type: ignore[arg-type]
        if at == step - 1:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Progress, "advance", advance)


def test_it_learns_and_writes_a_run_folder(tmp_path: Path) -> None:
    summary = train(recipe(num_train_epochs=20), tmp_path / "run", show=False)
    assert summary.steps == 6 * 20 and summary.rows == 50
    assert summary.losses[1] < summary.losses[0] / 2
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["checkpoints", "log.jsonl", "model", "recipe.toml", "summary.json"]
    assert json.loads((tmp_path / "run/summary.json").read_text())["steps"] == 120
    first = read(tmp_path / "run/log.jsonl")[0]
    assert (
        first["log_candidates"] == pytest.approx(math.log(8))
        and first["rows"] == 8
        and first["temperature"] == pytest.approx(0.07, rel=0.2)
    )
    assert 1 <= first["effective_rank"] <= 8 and -1 <= first["mean_cosine"] <= 1 and first["rows_without_positives"] == 0
    assert ckpt.steps_in(tmp_path / "run") == [116, 120]  # the last two


def test_learning_rate_follows_warm_up_and_schedule(tmp_path: Path) -> None:
    train(recipe(save_steps=0), tmp_path / "run", show=False)
    rates = [r["learning_rate"] for r in read(tmp_path / "run/log.jsonl")]
    assert len(rates) == 18
    assert rates[:4] == pytest.approx([0.0025, 0.005, 0.0075, 0.01])  # ceil(0.2 * 18) = 4 steps up
    assert rates[4:] == pytest.approx([0.01 * (1 - k / 14) for k in range(14)])


@pytest.mark.parametrize("stop", [5, 7])  # within the first and the second epoch, not on a save_steps boundary
def test_resumed_equals_uninterrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = recipe()
    train(whole, tmp_path / "whole", show=False)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stopped_at(stop, patch)
        train(recipe(), tmp_path / "parts", show=False)
    assert "--resume" in capsys.readouterr().err
    assert ckpt.steps_in(tmp_path / "parts")[-1] == stop
    assert not (tmp_path / "parts/model").exists()
    torch.manual_seed(12345)  # whatever the new process did before
    second = recipe(seed=77)  # fresh weights that must be overwritten
    train(second, tmp_path / "parts", resume=True, show=False)
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    for a, b in zip(weights(second), weights(whole), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(whole.score.log_scale, recipe().score.log_scale)  # type: ignore[attr-defined]


def grouped(batches: Batches, groups: int = 7) -> Recipe:
    """Rows with a column ``of``, five groups of ten rows or so, and batches made by it."""
    rows = Sentences()
    rows.rows = [{**row, "of": i * i % groups} for i, row in enumerate(rows.rows)]
    return replace(recipe(), rows=(rows,), batches=batches)


@pytest.mark.parametrize("stop", [3, 7])
@pytest.mark.parametrize("what", ["together", "bind"])
def test_batches_made_by_a_column_go_on_where_they_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, stop: int) -> None:
    """Communities (B3) and bound rows: the order of a later epoch, and of the rest of this one, is that of an unbroken run."""
    batches = Batches(**{what: "of"})
    whole = grouped(batches)
    train(whole, tmp_path / "whole", show=False)
    train(recipe(), tmp_path / "plain", show=False)
    assert losses(tmp_path / "plain")[:3] != losses(tmp_path / "whole")[:3]  # the column makes a difference
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stopped_at(stop, patch)
        train(grouped(batches), tmp_path / "parts", show=False)
    torch.manual_seed(12345)
    second = grouped(batches)
    train(second, tmp_path / "parts", resume=True, show=False)
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    assert all(torch.equal(a, b) for a, b in zip(weights(second), weights(whole), strict=True))
    with pytest.raises(DipoleError, match="other data"):  # the same texts in other communities are other data
        train(grouped(batches, groups=5), tmp_path / "parts", resume=True, show=False)


def test_a_lost_random_state_would_be_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above has teeth: without the random state, dropout differs and so do the losses."""
    train(recipe(), tmp_path / "whole", show=False)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stopped_at(5, patch)
        train(recipe(), tmp_path / "parts", show=False)
    monkeypatch.setattr("dipole.train.run.RandomState.restore", lambda self: None)
    train(recipe(), tmp_path / "parts", resume=True, show=False)
    assert losses(tmp_path / "parts")[:5] == losses(tmp_path / "whole")[:5]
    assert losses(tmp_path / "parts")[5:] != losses(tmp_path / "whole")[5:]


def test_killed_while_training_then_resumed(tmp_path: Path) -> None:
    whole = recipe(num_train_epochs=6)
    train(whole, tmp_path / "whole", show=False)
    run = tmp_path / "killed"
    slow = "import time; from dipole.train.log import Progress; Progress.advance = lambda *a: time.sleep(0.05);"
    what = "from tests.train.stand_in import recipe; from dipole.train.run import train"
    code = f"{slow} {what}; train(recipe(num_train_epochs=6), {str(run)!r})"
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    child = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while not (run / "log.jsonl").exists() or len((run / "log.jsonl").read_text().splitlines()) < 14:
        assert child.poll() is None and time.monotonic() < until, "the child did not get to step 14"
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    (run / "checkpoints/.step-99.1").mkdir()  # what a kill in the middle of writing leaves behind
    second = recipe(num_train_epochs=6)
    train(second, run, resume=True, show=False)
    assert losses(run) == losses(tmp_path / "whole")
    assert all(torch.equal(a, b) for a, b in zip(weights(second), weights(whole), strict=True))
    assert not list((run / "checkpoints").glob(".step-*"))


def test_resume_refuses_other_data_and_a_second_run_refuses_the_folder(tmp_path: Path) -> None:
    train(recipe(max_steps=4), tmp_path / "run", show=False)
    with pytest.raises(UsageError, match="--resume"):
        train(recipe(max_steps=4), tmp_path / "run", show=False)
    with pytest.raises(DipoleError, match="other data"):
        train(recipe(rows=49, max_steps=8), tmp_path / "run", resume=True, show=False)


def test_cached_training_equals_plain_training(tmp_path: Path) -> None:
    """Without dropout the cut does not matter: three epochs end at the same weights."""
    ends = []
    for micro in (0, 3):
        of = recipe(micro_batch_size=micro)
        of.encoder.drop.p = 0.0  # type: ignore[attr-defined]
        train(of, tmp_path / str(micro), show=False)
        ends.append(weights(of))
    for a, b in zip(*ends, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_mixed_precision_learns(tmp_path: Path) -> None:
    summary = train(recipe(num_train_epochs=20, precision="bf16-mixed", save_steps=0), tmp_path / "run", show=False)
    assert summary.losses[1] < summary.losses[0] / 2


def test_a_nan_stops_before_it_reaches_the_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of = recipe()
    before = [w.clone() for w in weights(of)]
    monkeypatch.setattr("dipole.losses.softmax.infonce.InfoNCE.__call__", lambda self, pairs: pairs.positive_scores() * math.nan)
    with pytest.raises(DipoleError, match="step 1: loss nan"):
        train(of, tmp_path / "run", show=False)
    assert all(torch.equal(a, b) for a, b in zip(weights(of), before, strict=True))


def test_a_single_row_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DegenerateBatchError, match="at least 2 rows"):
        train(recipe(rows=1), tmp_path / "run", show=False)


def test_homogeneous_batches_over_two_data_sets(tmp_path: Path) -> None:
    of = recipe(save_steps=0)
    both = Recipe((Sentences(20), Sentences(30, salt=1)), of.views, of.encoder, of.losses, of.score, step=of.step)
    assert train(both, tmp_path / "run", show=False).rows == 50
    assert len(losses(tmp_path / "run")) == (20 // 8 + 30 // 8) * 3
