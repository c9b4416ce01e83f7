"""Illnesses planted in files: exactly those rows are found, and nothing in clean ones."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from dipole.audit.findings import KINDS, Report
from dipole.audit.run import Settings, audit
from dipole.core.errors import DataError, ParameterError, UsageError
from tests.audit.made import rows, text, write

FORMATS = ("jsonl", "csv", "tsv", "parquet", "txt")
FIRST = {"jsonl": 1, "csv": 2, "tsv": 2, "parquet": 1, "txt": 1}  # the number of the first row: a header is line 1


def found(report: Report) -> list[tuple[str, tuple[int, ...]]]:
    return [(f.kind, f.rows) for f in report.findings]


@pytest.mark.parametrize("kind", FORMATS)
def test_a_clean_file_finds_nothing(kind: str, tmp_path: Path) -> None:
    report = audit(write(tmp_path / f"clean.{kind}", rows(200)))
    assert report.rows == 200 and found(report) == []
    assert report.counts == dict.fromkeys(KINDS, 0)
    assert report.json() == {"findings": [], "counts": dict.fromkeys(KINDS, 0)}
    assert report.text()[-1] == "nothing found"


@pytest.mark.parametrize("kind", FORMATS)
def test_copies_in_every_format(kind: str, tmp_path: Path) -> None:
    made = rows(40)
    made[7] = dict(made[3])
    made[30] = {name: f"  {value.upper()} " for name, value in made[3].items()}  # case and white space do not count
    made[12] = {**made[11], "anchor": made[11]["anchor"][:-1] + "q"}
    report = audit(write(tmp_path / f"data.{kind}", made))
    at = FIRST[kind]
    assert found(report) == [("duplicate", (3 + at, 7 + at, 30 + at)), ("near-duplicate", (11 + at, 12 + at))]
    assert report.findings[0].message == f"the same content as row {3 + at}, 3 rows in all"


def test_the_lines_of_an_editor(tmp_path: Path) -> None:
    """Blank lines count, and a quoted CSV field may run over several lines."""
    a, b = rows(2, negatives=False)
    lines = [json.dumps(a), "", json.dumps(b), "", "", json.dumps(a)]
    (tmp_path / "blank.jsonl").write_text("\n".join(lines))
    assert found(audit(tmp_path / "blank.jsonl")) == [("duplicate", (1, 6))]
    (tmp_path / "long.csv").write_text(
        'query,answer\n"one\nthing and\nanother",b c d e f\nfour,g h i j k\n"one thing and another",b c d e f\n'
    )
    assert found(audit(tmp_path / "long.csv")) == [("duplicate", (2, 6))]


def test_what_makes_rows_differ(tmp_path: Path) -> None:
    """Another label, score or number, or other negatives for the same pair: not a copy. Another order of negatives: a copy."""
    a = rows(1)[0]
    pair = {"anchor": a["anchor"], "positive": a["positive"]}
    made = [{**pair, "negative": [text_of(n) for n in order]} for order in ([1], [2], [2, 3], [3, 2])]
    assert found(audit(write(tmp_path / "negatives.jsonl", made))) == [("duplicate", (3, 4))]
    labelled = [{"text": a["anchor"], "label": label} for label in ("x", "y", "x")]
    assert found(audit(write(tmp_path / "labels.jsonl", labelled))) == [("duplicate", (1, 3)), ("label-suspect", (1, 2, 3))]
    numbered = [{"anchor": f"the size of this red shirt is {n} and it is not for you"} for n in (41, 42, 43)]
    assert found(audit(write(tmp_path / "numbers.jsonl", numbered))) == []


def text_of(seed: int) -> str:
    import random

    return text(random.Random(seed))


def test_a_positive_that_is_its_anchor(tmp_path: Path) -> None:
    made = rows(30, negatives=False)
    made[4]["positive"] = made[4]["anchor"].title()
    assert found(audit(write(tmp_path / "pairs.jsonl", made))) == [("duplicate", (5,))]
    scored = [{**row, "score": 5.0 if i == 4 else i / 10} for i, row in enumerate(made)]
    assert found(audit(write(tmp_path / "sts.jsonl", scored))) == []  # graded pairs may be equal


def test_positives_as_negatives(tmp_path: Path) -> None:
    made = rows(30)
    made[2]["negative"] = [made[2]["negative"], made[2]["positive"].upper()]  # of its own row
    made[5]["anchor"] = made[9]["anchor"]
    made[5]["negative"] = made[9]["positive"]  # a positive of the same anchor elsewhere
    made[11]["negative"] = made[11]["anchor"]
    made[13]["negative"] = made[14]["positive"]  # another anchor's positive: a good negative
    report = audit(write(tmp_path / "mined.jsonl", made))
    assert found(report) == [("positive-as-negative", (3,)), ("positive-as-negative", (6,)), ("positive-as-negative", (12,))]
    said = [f.message for f in report.findings]
    assert "its own positive" in said[0] and "a positive of the same anchor in row 10" in said[1] and "the anchor itself" in said[2]
    flat = [
        {"query": r["anchor"], "pos": r["positive"], "negative_1": "x y z", "negative_2": r["negative"]} for r in made[9:10] + made[5:6]
    ]
    assert found(audit(write(tmp_path / "columns.csv", flat))) == [("positive-as-negative", (3,))]


def test_leaks(tmp_path: Path) -> None:
    made = rows(40, negatives=False)
    held = rows(20, seed=1, negatives=False)
    held[3] = dict(made[8])  # the whole row
    held[4]["anchor"] = made[9]["anchor"] + " indeed"  # nearly what is asked
    held[5]["anchor"] = made[10]["positive"]  # a training answer is asked
    held[6]["positive"] = made[11]["anchor"]  # a training question is the answer
    held[7]["positive"] = made[12]["positive"]  # a passage both know: fine
    data, dev = write(tmp_path / "train.jsonl", made), write(tmp_path / "dev.csv", held)
    for settings, name in ((Settings(against=[dev]), "dev.csv"), (Settings(splits={"valid": dev}), "valid")):
        report = audit(data, settings)
        assert found(report) == [("leak", (n,)) for n in (9, 10, 11, 12)]
        assert f"the anchor is in {name}, row 5: " in report.findings[0].message
        assert f"the anchor is nearly in {name}, row 6 (Jaccard 0." in report.findings[1].message
    scored = [{"sentence1": r["anchor"], "sentence2": r["positive"], "score": 1.0} for r in held]
    assert found(audit(data, Settings(against=[write(tmp_path / "sts.tsv", scored)]))) == [("leak", (n,)) for n in (9, 10, 11, 12, 13)]


def test_leaks_between_splits(tmp_path: Path) -> None:
    made, dev, test = (rows(20, seed=seed, negatives=False) for seed in (0, 1, 2))
    test[2] = dict(dev[6])
    places = [write(tmp_path / f"{name}.jsonl", part) for name, part in (("train", made), ("dev", dev), ("test", test))]
    report = audit(places[0], Settings(splits={"dev": places[1], "test": places[2]}))
    assert found(report) == [("leak", (7,))]
    assert report.findings[0].message.startswith("dev: the anchor is in test, row 3: ")
    with pytest.raises(UsageError, match="is the data itself"):
        audit(places[0], Settings(against=[places[0]]))


def test_broken_and_empty_rows(tmp_path: Path) -> None:
    a, b, c = rows(3, negatives=False)
    broken: Sequence[object] = [
        a,
        {"anchor": " ", "positive": "x"},
        "{oops",
        b,
        {"anchor": "x y"},
        "[1]",
        {"anchor": 7, "positive": "x"},
        c,
    ]
    path = write(tmp_path / "broken.jsonl", broken)  # type: ignore[arg-type]
    with open(path, "ab") as file:
        file.write(b'{"anchor": "\xff", "positive": "x"}\n')
    report = audit(path)
    assert found(report) == [("empty", (n,)) for n in (2, 3, 5, 6, 7, 9)]
    said = [f.message for f in report.findings]
    assert said[0] == "anchor is empty" and said[2] == "positive is empty" and said[4] == "anchor must be a text, not 7"
    assert said[1].startswith("cannot be read: no JSON") and "not UTF-8" in said[5] and str(tmp_path) not in "".join(said)


def test_broken_csv(tmp_path: Path) -> None:
    path = tmp_path / "ragged.csv"
    path.write_text("query,answer\na b c,d\ne\nf g h,i\n")
    assert found(audit(path)) == [("empty", (3,))]
    path.write_text('query,answer\na b c,d\n"open,e\nf g h,i\n')
    (finding,) = audit(path).findings
    assert finding.rows == (3,) and "a quoted field must end with a quote" in finding.message


@pytest.mark.parametrize(
    ("content", "error"), [("", "the file is empty"), ("{x\n", "no row that can be read"), ("\n\n", "no row that can")]
)
def test_files_without_rows(content: str, error: str, tmp_path: Path) -> None:
    (tmp_path / "none.jsonl").write_text(content)
    with pytest.raises(DataError, match=error):
        audit(tmp_path / "none.jsonl")


def test_languages(tmp_path: Path) -> None:
    made = rows(40)
    made[6]["anchor"] = "das ist nicht der hund, den wir gestern in der stadt gesehen haben"
    made[20]["positive"] = "Это не та собака, которую мы видели вчера."
    made[21]["positive"] = "1 2 3 4"  # nothing to tell by
    report = audit(write(tmp_path / "mixed.jsonl", made))
    assert found(report) == [("language", (7,)), ("language", (21,))]
    assert report.findings[0].message == "anchor in de, 97.5% in en"
    pairs = [{"en": row["anchor"], "de": "wir haben das nicht so gesehen wie du es gesagt hast, " + str(i)} for i, row in enumerate(made)]
    assert audit(write(tmp_path / "parallel.jsonl", pairs), Settings(columns="anchor=en, positive=de")).counts["language"] == 1


def test_labels_that_contradict(tmp_path: Path) -> None:
    made = [{"text": row["anchor"], "label": f"class {i % 3}"} for i, row in enumerate(rows(30))]
    made[20] = {"text": made[4]["text"].upper(), "label": "class 0"}
    report = audit(write(tmp_path / "labelled.csv", made))
    assert found(report) == [("label-suspect", (6, 22))]
    assert report.findings[0].message == "the same text with 2 labels: class 0, class 1"
    scored = [{"sentence1": r["anchor"], "sentence2": r["positive"], "score": i % 6} for i, r in enumerate(rows(30))]
    scored += [{**scored[3], "score": 0}, {**scored[4], "score": 4.5}]  # 3 against 0; 4 against 4.5
    assert found(audit(write(tmp_path / "sts.jsonl", scored))) == [("label-suspect", (4, 31))]


class Words:
    """An encoder that reads at most five words."""

    name, limit = "words", 5

    def lengths(self, texts: Sequence[str], side: str) -> list[int]:
        return [len(text.split()) + (side == "keys") for text in texts]


def test_truncation(tmp_path: Path) -> None:
    made = [{"anchor": f"a b {i}", "positive": " ".join("xyzuvw"[: 2 + i % 4]) + f" {i}"} for i in range(8)]
    report = audit(write(tmp_path / "long.jsonl", made), Settings(readers=[Words()]))
    assert found(report) == [("truncated", (3, 4, 7, 8))]
    # positives have 4, 5, 6, 7, 4, 5, 6, 7 tokens, the side's own included
    assert report.findings[0].message == "words reads 5 tokens: positive: 4 of 8 texts (50.0%) are longer and lose 6 of 44 tokens (13.6%)"
    assert any("tokens of words: anchor half up to 3" in note for note in report.notes)


def test_several_files_and_a_folder(tmp_path: Path) -> None:
    first, second = rows(20), rows(20, seed=1)
    second[4], second[9] = dict(first[2]), dict(second[8])
    folder = tmp_path / "parts"
    folder.mkdir()
    write(folder / "a.jsonl", first)
    write(folder / "b.csv", second)
    report = audit(folder)
    assert report.rows == 40
    assert [(f.kind, f.rows, f.message) for f in report.findings] == [
        ("duplicate", (3,), "a.jsonl: the same content as a.jsonl row 3, 2 rows in all"),
        ("duplicate", (6,), "b.csv: the same content as a.jsonl row 3, 2 rows in all"),
        ("duplicate", (10, 11), "b.csv: the same content as b.csv row 10, 2 rows in all"),
    ]
    assert Counter(f["kind"] for f in report.json()["findings"]) == {"duplicate": 3} and report.counts["duplicate"] == 3


def test_columns_and_threshold(tmp_path: Path) -> None:
    made = [{"frage": row["anchor"], "antwort": row["positive"]} for row in rows(20)]
    made[3]["antwort"] = made[3]["frage"]
    path = write(tmp_path / "own.csv", made)
    assert found(audit(path, Settings(columns="anchor=frage, positive=antwort"))) == [("duplicate", (5,))]
    with pytest.raises(ParameterError, match=r"threshold must be a number from 0\.5 to 1"):
        Settings(threshold=0.3)
