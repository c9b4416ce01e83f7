"""Rows from files: every format, the roles of columns, and each kind of bad input with its line."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import pytest

from dipole.core.errors import DataError, UnknownNameError, UsageError
from dipole.rows import table
from dipole.rows.columns import map_columns, parse_columns
from dipole.rows.file import File
from dipole.rows.open import open_rows

PAIRS = [{"query": f"frage {i} é", "answer": f"antwort, {i}"} for i in range(5)]


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("ending", ["jsonl", "csv", "tsv", "parquet"])
def test_each_format_gives_the_same_rows(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"pairs.{ending}"
    if ending == "jsonl":
        write(tmp_path, path.name, "\n".join(json.dumps(p) for p in PAIRS))
    elif ending == "csv":
        write(tmp_path, path.name, "query,answer\n" + "".join(f'{p["query"]},"{p["answer"]}"\r\n' for p in PAIRS))
    elif ending == "tsv":
        write(tmp_path, path.name, "query\tanswer\n" + "".join(f"{p['query']}\t{p['answer']}\n" for p in PAIRS))
    else:
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(PAIRS), path)
    rows = open_rows(path)
    wanted = [{"anchor": p["query"], "positive": p["answer"]} for p in PAIRS]
    assert list(rows) == wanted
    assert [rows[i] for i in range(len(rows))] == wanted
    assert rows[-1] == wanted[-1]
    with pytest.raises(IndexError):
        rows[5]


def test_text_lines_skip_blanks_and_a_byte_order_mark(tmp_path: Path) -> None:
    rows = open_rows(write(tmp_path, "a.txt", b"\xef\xbb\xbfone\r\n\r\n  two \n"))
    assert [r["anchor"] for r in rows] == ["one", "  two "]


def test_a_tsv_quote_is_a_character_and_a_csv_quote_holds_line_breaks(tmp_path: Path) -> None:
    assert open_rows(write(tmp_path, "a.tsv", 'query\tanswer\nsay "hi\tb\n'))[0] == {"anchor": 'say "hi', "positive": "b"}
    rows = open_rows(write(tmp_path, "a.csv", 'query,answer\n"a\nb","say ""hi"""\nc,d\n'))
    assert list(rows) == [{"anchor": "a\nb", "positive": 'say "hi"'}, {"anchor": "c", "positive": "d"}]


def test_words_that_look_like_nothing_or_numbers_stay_texts(tmp_path: Path) -> None:
    rows = open_rows(write(tmp_path, "a.csv", "query,answer,label\nNA,12,1\nnull,nan,2\n"))
    assert list(rows) == [{"anchor": "NA", "positive": "12", "label": 1}, {"anchor": "null", "positive": "nan", "label": 2}]


def test_ragged_negatives_and_several_positives(tmp_path: Path) -> None:
    lines = [{"query": "q", "pos": ["a", "b"], "neg": ["x"], "pos_scores": [1.5, 2]}, {"query": "r", "pos": ["c"], "neg": []}]
    rows = open_rows(write(tmp_path, "flag.jsonl", "\n".join(map(json.dumps, lines))))
    assert rows[0] == {"anchor": "q", "positive": ["a", "b"], "negative": ["x"], "pos_scores": [1.5, 2.0]}
    assert rows[1]["negative"] == []
    numbered = [{"anchor": "a", "positive": "p", "negative_1": "x", "negative_2": "y"}, {"anchor": "b", "positive": "q", "negative_1": "z"}]
    rows = open_rows(write(tmp_path, "numbered.jsonl", "\n".join(map(json.dumps, numbered))))
    assert [r["negative"] for r in rows] == [["x", "y"], ["z"]]


@pytest.mark.parametrize(
    ("names", "roles"),
    [
        (["positive", "anchor"], {"anchor": ("anchor",), "positive": ("positive",)}),
        (["premise", "hypothesis", "label"], {"anchor": ("premise",), "positive": ("hypothesis",), "label": ("label",)}),
        (["sentence2", "score", "sentence1"], {"anchor": ("sentence1",), "positive": ("sentence2",), "score": ("score",)}),
        (["premise", "entailment", "contradiction"], {"anchor": ("premise",), "positive": ("entailment",), "negative": ("contradiction",)}),
        (["Question", "Answer"], {"anchor": ("Question",), "positive": ("Answer",)}),
        (["left", "right", "wrong"], {"anchor": ("left",), "positive": ("right",), "negative": ("wrong",)}),
        (["doc_id", "left", "url", "right"], {"anchor": ("left",), "positive": ("right",), "id": ("doc_id",)}),
        (["query", "passage"], {"anchor": ("query",), "positive": ("passage",)}),
        (["passage"], {"anchor": ("passage",)}),
        (["_id", "title", "text"], {"anchor": ("text",), "id": ("_id",)}),
    ],
)
def test_name_beats_order(names: list[str], roles: dict[str, tuple[str, ...]]) -> None:
    assert dict(map_columns(names, {}).roles) == roles


def test_the_mapping_can_be_given_and_is_told(tmp_path: Path) -> None:
    path = write(tmp_path, "faq.csv", "query,title,reply\na,b,c\n")
    rows = open_rows(path, anchor="title", positive="reply")
    assert rows[0] == {"anchor": "b", "positive": "c", "query": "a"}
    assert rows.mapping.text() == "anchor <- title, positive <- reply (as given); not used: query"
    assert File(path=str(path), columns="anchor=title, positive=reply").fingerprint == rows.fingerprint


def test_bad_mappings_are_usage_errors(tmp_path: Path) -> None:
    path = write(tmp_path, "faq.csv", "title,reply\nb,c\n")
    with pytest.raises(DataError, match=r"column 'titel'.*did you mean 'title'"):
        open_rows(path, anchor="titel")
    with pytest.raises(UnknownNameError, match="did you mean 'anchor'"):
        open_rows(path, ancor="title")
    for text in ("anchor", "anchor=", "anchor=a, anchor=b"):
        with pytest.raises(UsageError, match="role=column"):
            parse_columns(text)


@pytest.mark.parametrize(
    ("name", "content", "line", "says"),
    [
        ("empty.jsonl", "", None, "the file is empty"),
        ("blank.jsonl", "\n\n", None, "has no rows"),
        ("header.csv", "query,answer\n", None, "has no rows"),
        ("short.csv", "query,answer\na,b\nc\n", 3, "must have 2 fields.*got 1"),
        ("long.tsv", "query\tanswer\na\tb\nc\td\te\n", 3, "must have 2 fields.*got 3"),
        ("after_break.csv", 'query,answer\n"a\nb",c\nd\n', 4, "must have 2 fields"),
        ("quote.csv", 'query,answer\na,b\n"c,d\n', 3, "no CSV"),
        ("twice.csv", "query,query\na,b\n", 1, "must differ"),
        ("latin.jsonl", b'{"query": "a"}\n{"query": "\xe9"}\n', 2, "not UTF-8 from byte 12"),
        ("latin.csv", b"query,answer\na,b\nc,\xe9\n", 3, "not UTF-8"),
        ("latin.txt", b"good\nb\xe4d\n", 2, "not UTF-8"),
        ("broken.jsonl", '{"query": "a"}\n{"query": \n', 2, "no JSON"),
        ("array.jsonl", '[{"query": "a",\n', 1, "one object a line"),
        ("scalar.jsonl", '{"query": "a"}\n3\n', 2, "one JSON object"),
        ("number.jsonl", '{"query": "a"}\n{"query": 7}\n', 2, "anchor must be a text, not a whole number"),
        ("listed.jsonl", '{"query": "a", "answer": "b"}\n{"query": "a", "answer": [1]}\n', 2, "positive must be a text or a list of texts"),
        ("mixed.jsonl", '{"query": "a", "label": 1}\n{"query": "b", "label": "x"}\n', 2, "a whole number on line 1 and a text here"),
        ("score.csv", "query,answer,score\na,b,1\nc,d,high\n", 3, "score must be"),
        ("nan.csv", "query,answer,score\na,b,1\nc,d,nan\n", 3, "NaN"),
        ("missing.jsonl", '{"query": "a", "answer": "b"}\n{"query": "c"}\n', 2, "positive must not be empty"),
        ("late.jsonl", '{"query": "a"}\n{"query": "c", "answer": "b"}\n', 1, "positive must not be empty"),
        ("hollow.csv", "query,answer\na,b\n,d\n", 3, "anchor must not be empty"),
        ("no.parquet", "not parquet", None, "no readable Parquet"),
        ("numbers.jsonl", '{"id": 1}\n', None, "no column can be the anchor"),
    ],
)
def test_bad_content_names_file_and_line(tmp_path: Path, name: str, content: str | bytes, line: int | None, says: str) -> None:
    path = write(tmp_path, name, content)
    with pytest.raises(DataError, match=says) as caught:
        open_rows(path)
    assert caught.value.line == line
    assert name in str(caught.value)


def test_missing_files_are_usage_errors(tmp_path: Path) -> None:
    write(tmp_path, "pairs.jsonl", '{"query": "a"}')
    with pytest.raises(UsageError, match=r"no such file; did you mean 'pairs.jsonl'"):
        open_rows(tmp_path / "pair.jsonl")
    with pytest.raises(UsageError, match="unknown ending"):
        open_rows(write(tmp_path, "a.xlsx", "x"))
    (tmp_path / "none").mkdir()
    with pytest.raises(UsageError, match="holds no data file"):
        open_rows(tmp_path / "none")


def test_a_folder_is_its_files_in_order(tmp_path: Path) -> None:
    write(tmp_path, "b.jsonl", '{"query": "2", "answer": "x", "label": 1.5}\n')
    write(tmp_path, "a.csv", "query,answer,label\n1,x,3\n")
    assert [(r["anchor"], r["label"]) for r in open_rows(tmp_path)] == [("1", 3.0), ("2", 1.5)]
    write(tmp_path, "c.jsonl", '{"query": "3"}\n')
    with pytest.raises(DataError, match=r"c\.jsonl.*column 'answer'"):
        open_rows(tmp_path)


def test_a_big_file_is_mapped_from_a_cache_named_by_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "big.jsonl", "".join(json.dumps({"query": f"q{i}", "answer": f"a{i}"}) + "\n" for i in range(5000)))
    small = open_rows(path)
    monkeypatch.setattr(table, "IN_MEMORY_BYTES", 0)
    monkeypatch.setenv("DIPOLE_CACHE", str(tmp_path / "cache"))
    big = open_rows(path)
    (made,) = (tmp_path / "cache" / "rows").iterdir()
    assert made.suffix == ".arrow"
    assert big[4321] == small[4321] == {"anchor": "q4321", "positive": "a4321"}
    assert list(big) == list(small)
    assert big.fingerprint == small.fingerprint
    stamp = made.stat().st_mtime_ns
    assert open_rows(path)[0] == small[0]
    assert [p.stat().st_mtime_ns for p in made.parent.iterdir()] == [stamp]  # not made again


def test_a_full_disk_leaves_no_cache_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "big.jsonl", '{"query": "a"}\n')
    monkeypatch.setattr(table, "IN_MEMORY_BYTES", 0)
    monkeypatch.setenv("DIPOLE_CACHE", str(tmp_path / "cache"))

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            open_rows(path)
    assert list((tmp_path / "cache" / "rows").iterdir()) == []
    assert open_rows(path)[0] == {"anchor": "a"}


def test_the_fingerprint_follows_the_content_not_the_place(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    first, moved = (write(folder, "a.jsonl", '{"query": "a"}\n') for folder in (tmp_path, tmp_path / "x"))
    assert open_rows(first).fingerprint == open_rows(moved).fingerprint
    before = open_rows(first).fingerprint
    write(tmp_path, "a.jsonl", '{"query": "b"}\n')
    assert open_rows(first).fingerprint != before


def test_rows_travel_to_a_worker(tmp_path: Path) -> None:
    rows = open_rows(write(tmp_path, "a.jsonl", '{"query": "a", "answer": "b"}\n'))
    assert list(pickle.loads(pickle.dumps(rows))) == list(rows)


def test_without_a_header_columns_are_numbered(tmp_path: Path) -> None:
    path = write(tmp_path, "bitext.tsv", "hello\thallo\nbye\ttschau\n")
    assert [tuple(r.values()) for r in File(path=str(path), header=False)] == [("hello", "hallo"), ("bye", "tschau")]
