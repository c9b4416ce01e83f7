"""``--fix``: the copy audits clean, keeps all else byte for byte, and says what went."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dipole.audit.findings import FIXED
from dipole.audit.fix import audit_and_fix
from dipole.audit.run import Settings, audit
from dipole.core.errors import DataError, UsageError
from tests.audit.made import rows, write


def ill(negatives: bool = True) -> list[Any]:
    """Forty rows with one of each illness that content proves."""
    made: list[Any] = rows(40, negatives=negatives)
    made[7] = dict(made[3])
    made[12] = {**made[11], "anchor": made[11]["anchor"][:-1] + "q"}
    made[20] = {**made[20], "anchor": ""}
    if negatives:
        made[15] = {**made[15], "negative": made[15]["positive"]}
        made[16] = {**made[16], "anchor": made[17]["anchor"], "negative": made[17]["positive"]}
    return made


@pytest.mark.parametrize("kind", ["jsonl", "csv", "tsv", "parquet"])
def test_the_copy_is_clean_and_the_rest_is_as_it_was(kind: str, tmp_path: Path) -> None:
    made = ill()
    held = write(tmp_path / "dev.jsonl", [made[25]])
    data, clean = write(tmp_path / f"data.{kind}", made), tmp_path / f"clean.{kind}"
    before = data.read_bytes()
    settings = Settings(against=[held])
    report, cleaned = audit_and_fix(data, clean, settings)
    assert data.read_bytes() == before
    assert {kind: report.counts[kind] for kind in FIXED} == {
        "duplicate": 1,
        "near-duplicate": 1,
        "positive-as-negative": 2,
        "leak": 1,
        "empty": 1,
    }
    assert not any(audit(clean, settings).counts.values())
    assert (cleaned.rows, cleaned.of, cleaned.negatives) == (36, 40, 2)
    assert cleaned.dropped == {"empty": 1, "leak": 1, "duplicate": 1, "near-duplicate": 1}
    at = 1 if kind in ("jsonl", "parquet") else 2
    told = [json.loads(line) for line in (tmp_path / f"clean.{kind}.dropped").read_text().splitlines()]
    assert [(t["row"] - at, t["kind"]) for t in told] == [
        (7, "duplicate"),
        (12, "near-duplicate"),
        (15, "positive-as-negative"),
        (16, "positive-as-negative"),
        (20, "empty"),
        (25, "leak"),
    ]
    assert f"the same as row {3 + at}" in told[0]["reason"] and made[7]["anchor"] in str(told[0]["record"])
    left = [row for place, row in enumerate(made) if place not in (7, 12, 20, 25)]
    for row in left:
        if row["negative"] == row["positive"] or (row is made[16]):
            row["negative"] = "" if kind in ("csv", "tsv") else None
    assert list(read(clean)) == left
    if kind == "jsonl":
        lines = before.splitlines(keepends=True)
        kept = [line for place, line in enumerate(lines) if place not in (7, 12, 15, 16, 20, 25)]
        assert set(kept) <= set(clean.read_bytes().splitlines(keepends=True))
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"clean.{kind}", f"clean.{kind}.dropped", f"data.{kind}", "dev.jsonl"]


def read(path: Path) -> list[dict[str, Any]]:
    from dipole.rows.read import records

    return [values for _, values in records(path)]


def test_text_lines_and_a_file_that_is_clean(tmp_path: Path) -> None:
    made = rows(20)
    path = tmp_path / "a.txt"
    path.write_text("\n".join(row["anchor"] for row in [*made, made[4]]) + "\n\n\n")
    _, cleaned = audit_and_fix(path, tmp_path / "b.txt")
    assert (tmp_path / "b.txt").read_text() == "\n".join(row["anchor"] for row in made) + "\n\n\n"
    _, again = audit_and_fix(tmp_path / "b.txt", tmp_path / "c.txt")
    assert (tmp_path / "c.txt").read_bytes() == (tmp_path / "b.txt").read_bytes()
    assert cleaned.dropped == {"duplicate": 1} and again.dropped == {} and "dropped: nothing" in again.text()
    assert not (tmp_path / "c.txt.dropped").exists()


def test_quoted_csv_rows_over_several_lines(tmp_path: Path) -> None:
    rows_of = ['"one\r\nthing, and",b c d,x y', '"another ""thing""",e f,"e\nF"', '"One thing, and",b c d,x y', "last,g h,i j"]
    text = "".join(f"{row}\r\n" for row in ["query,answer,negative", *rows_of])
    (tmp_path / "a.csv").write_bytes(text.encode())
    audit_and_fix(tmp_path / "a.csv", tmp_path / "b.csv")
    made = (tmp_path / "b.csv").read_bytes().decode()
    assert made == text.replace('"One thing, and",b c d,x y\r\n', "").replace('"e\nF"', "")


def test_what_taking_out_a_negative_makes_alike_goes_too(tmp_path: Path) -> None:
    """Two rows that differ in a bad negative only become copies: the copy is audited again until nothing is left."""
    a = rows(1)[0]
    other = rows(1, seed=1)[0]["anchor"]
    made = [{**a, "negative": [other]}, {**a, "negative": [other, a["positive"]]}, *rows(5, seed=2)]
    clean = tmp_path / "clean.jsonl"
    _, cleaned = audit_and_fix(write(tmp_path / "a.jsonl", made), clean)
    assert cleaned.rows == 6 and cleaned.negatives == 1 and cleaned.dropped == {"duplicate": 1}
    assert not any(audit(clean).counts.values())
    told = [json.loads(line) for line in Path(f"{clean}.dropped").read_text().splitlines()]
    assert [(t["row"], t["kind"]) for t in told] == [(2, "positive-as-negative"), (2, "duplicate")]


def test_a_chain_of_near_copies_loses_no_more_than_it_must(tmp_path: Path) -> None:
    """b is near a and c is near b, but c is not near a: a and c stay."""
    base = rows(1, negatives=False)[0]
    a = {"anchor": base["anchor"] + " " + base["positive"]}
    b = {"anchor": a["anchor"].replace(a["anchor"][5], "q", 1)}
    letters = list(b["anchor"])
    letters[40] = "z"
    c = {"anchor": "".join(letters)}
    path = write(tmp_path / "a.jsonl", [a, b, c])
    report, _ = audit_and_fix(path, tmp_path / "b.jsonl", Settings(threshold=0.86))
    assert [f.rows for f in report.findings] == [(1, 2, 3)]
    assert read(tmp_path / "b.jsonl") == [a, c]


def test_of_copies_that_leak_none_stays(tmp_path: Path) -> None:
    made = rows(10, negatives=False)
    near = {**made[2], "positive": made[2]["positive"][:-1] + "q"}
    made += [dict(made[2]), near]
    held = write(tmp_path / "dev.jsonl", [{"anchor": made[2]["anchor"], "positive": "x"}])
    _, cleaned = audit_and_fix(write(tmp_path / "a.jsonl", made), tmp_path / "b.jsonl", Settings(against=[held]))
    assert cleaned.dropped == {"leak": 3}


def test_chosen_kinds(tmp_path: Path) -> None:
    data = write(tmp_path / "a.jsonl", ill())
    _, cleaned = audit_and_fix(data, tmp_path / "b.jsonl", kinds=["empty"])
    assert cleaned.dropped == {"empty": 1} and cleaned.negatives == 0
    made = rows(20)
    made[3]["anchor"] = "das ist nicht der hund, den wir gestern in der stadt gesehen haben"
    _, cleaned = audit_and_fix(write(tmp_path / "c.jsonl", made), tmp_path / "d.jsonl", kinds=["language"])
    assert cleaned.dropped == {"language": 1}


def test_several_files(tmp_path: Path) -> None:
    first, second = rows(20), rows(20, seed=1)
    second[4] = dict(first[2])
    places = [write(tmp_path / "a.jsonl", first), write(tmp_path / "b.csv", second)]
    _, cleaned = audit_and_fix(places, tmp_path / "clean")
    assert sorted(p.name for p in (tmp_path / "clean").iterdir()) == ["a.jsonl", "b.csv"]
    assert cleaned.rows == 39 and not audit(tmp_path / "clean").findings
    (told,) = map(json.loads, (tmp_path / "clean.dropped").read_text().splitlines())
    assert (told["file"], told["row"], told["reason"]) == ("b.csv", 6, "the same as a.jsonl row 3")


def test_refusals_leave_nothing_behind(tmp_path: Path) -> None:
    data = write(tmp_path / "a.jsonl", ill())
    (tmp_path / "there.jsonl").touch()
    for clean, said in (("there.jsonl", "exists"), ("b.csv", "must end as"), ("none/b.jsonl", "no such folder")):
        with pytest.raises(UsageError, match=said):
            audit_and_fix(data, tmp_path / clean)
    with pytest.raises(UsageError, match="give a new folder"):
        audit_and_fix([data, write(tmp_path / "b.jsonl", rows(3))], tmp_path / "c.jsonl")
    same = write(tmp_path / "same.jsonl", [{"anchor": "", "positive": "x"}] * 2)
    with pytest.raises(DataError, match="no row would be left"):
        audit_and_fix(same, tmp_path / "d.jsonl")
    (tmp_path / "open.csv").write_text('query,answer\na b c,d\n"open,e\nf g h,i\n')
    with pytest.raises(DataError, match=r"open\.csv:3: a quote is left open"):
        audit_and_fix(tmp_path / "open.csv", tmp_path / "e.csv")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.jsonl", "b.jsonl", "open.csv", "same.jsonl", "there.jsonl"]


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write(tmp_path / "a.jsonl", ill())

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dipole.audit.fix.rewrite", full)
    with pytest.raises(OSError, match="No space"):
        audit_and_fix(data, tmp_path / "b.jsonl")
    assert [p.name for p in tmp_path.iterdir()] == ["a.jsonl"]
