"""Files as nobody would wish for: what can be used of them is, the rest is told with its place, and nothing else is lost by it."""

from __future__ import annotations

import datetime
import itertools
import json
import os
import sys
import time
from pathlib import Path

import pytest

from dipole.core.errors import DataError, MissingExtraError
from dipole.rows.open import open_rows
from dipole.rows.read import records
from dipole.search.collection import Collection
from dipole.search.documents import Document, document_of, documents_of
from dipole.search.ingest import found_in, ingest
from dipole.search.sources import bibtex, feeds
from dipole.search.sources.refused import Refused
from tests.search.test_collection import Letters
from tests.search.test_ingest import pdf, read

arrow = pytest.importorskip("pyarrow")
pytest.importorskip("lancedb")


def lines(*rows: object) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def feed(*entries: str) -> str:
    return f'<feed xmlns="http://www.w3.org/2005/Atom">{"".join(f"<entry>{e}</entry>" for e in entries)}</feed>'


@pytest.mark.parametrize(
    ("name", "content", "ids", "places"),
    [
        ("a.jsonl", '{"text":"a","id":1}\n{broken\n[1]\n{"text":"b","id":2}\n', ["1", "2"], [":2", ":3"]),
        ("a.jsonl", b'{"text":"a","id":1}\n{"text":"caf\xe9"}\n{"text":"b","id":2}\n', ["1", "2"], [":2"]),
        ("a.jsonl", '{"text":"a\\ud800","id":1}\n{"text":"b","id":"\\udfff"}\n{"text":"b","id":2}\n', ["2"], [":1", ":2"]),
        ("a.jsonl", '{"text":"a","x":' + "9" * 5000 + '}\n{"text":"b","id":2}\n', ["2"], [":1"]),
        ("a.jsonl", '{"text":"a","x":' + "[" * 900 + "]" * 900 + '}\n{"text":"b","id":2}\n', ["2"], [":1"]),
        (
            "a.jsonl",
            lines(*({"text": "a", "id": i} for i in ("a/b", "a b", "😀", "../x", "i\0d"))),
            ["a/b", "a b", "😀", "../x", "i\0d"],
            [],
        ),
        ("a.csv", "id,text\n1,a\n2,b,c\n3\n4,d\n", ["1", "4"], [":3", ":4"]),
        ("a.csv", 'id,text\n1,a\n2,"open\n3,c\n', ["1"], [":3"]),
        ("a.csv", b"id,text\n1,a\0b\n2,caf\xe9\n3,c\n", ["1", "3"], [":3"]),
        ("a.csv", "id,id,text\n1,2,3\n", [], [":1"]),
        ("a.csv", "id,text\n", [], [""]),
        ("a.bib", b"\xef\xbb\xbf@misc{a, title={A}}\n@misc{b, title={caf\xe9}}\n@misc{c, title={C}}\n", ["a", "c"], [":2"]),
        ("a.bib", "@misc{a, title={A}, note={mail\n@home}}\n@misc{b, title={B}}\n", ["a", "b"], []),
        (
            "a.bib",
            "@misc{a, title={A}, journal=a+b}\n@misc{b, title={B}, journal=x:y/z, month=sept}\n@misc{c, title={C}, journal=JMLR}\n",
            ["a", "b", "c"],
            [],
        ),
        ("a.xml", feed(), [], [""]),
        ("a.xml", feed("<id>u</id><title>t</title><published>0000-00-00</published>"), ["u"], []),
        ("a.md", "---\na: &x [*x]\n---\ntext", [], [":1"]),
        ("a.md", "---\na: " + "[" * 2000 + "]" * 2000 + "\n---\ntext", [], [":1"]),
        ("a.py", "x=" + "-" * 50_000 + "1", [], [""]),
        ("a.py", "x='\\d'\n", ["a.py"], []),
        ("a.txt", "T\nA\n5 authors\n" + "9" * 5000 + " votes\n", ["a.txt"], []),
    ],
)
def test_the_good_is_kept_and_the_rest_told_with_its_place(
    tmp_path: Path, name: str, content: str | bytes, ids: list[str], places: list[str]
) -> None:
    found, refused = read(tmp_path, name, content)
    assert [d.id for d in found] == ids
    assert [r.place for r in refused] == [f"{tmp_path}/{name}{place}" for place in places]
    assert all(r.why and r.place not in r.why for r in refused)


def test_aliases_of_yaml_are_not_written_out_without_end(tmp_path: Path) -> None:
    bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{c}: &{c} [{','.join(['*' + p] * 10)}]\n" for p, c in itertools.pairwise("abcdefghi")
    )
    found, refused = read(tmp_path, "bomb.md", f"---\n{bomb}---\ntext")
    assert not found and "too much" in refused[0].why
    found, _ = read(tmp_path, "rule.md", "---\nHello there\n---\nmore")
    assert found[0].text == "---\nHello there\n---\nmore", "a text between two rules is no front matter"
    found, _ = read(tmp_path, "set.md", "---\ntitle:\ntags: !!set {b, a}\nabout: {when: 2026-01-02, n: .nan}\n---\n# Head\nx")
    assert (found[0].title, found[0].tags, found[0].metadata) == ("Head", ("a", "b"), {"about": {"when": "2026-01-02", "n": None}})


def test_signs_of_mathematics_are_no_markup_and_a_per_cent_sign_no_comment(tmp_path: Path) -> None:
    said = "We show $x&lt;y$ and $z&gt;w$, if a &lt; b and c &gt; d; &lt;b&gt;p&lt;/b&gt;&lt;0.05 &lt;a href='x'&gt;here&lt;/a&gt;."
    found, _ = read(tmp_path, "a.xml", feed(f"<id>u</id><title>t</title><summary>{said}</summary>"))
    assert found[0].text == "We show $x<y$ and $z>w$, if a < b and c > d; p <0.05 here ." and found[0].url == ""
    found, _ = read(
        tmp_path, "a.bib", "@misc{a, title={50% better}, abstract={10% and 20\\% of all. The end.}, author={A B and others}, journal=jmlr}"
    )
    assert (found[0].title, found[0].text, found[0].authors) == ("50% better", "10% and 20% of all. The end.", ("A B",))
    assert found[0].metadata["journal"] == "jmlr"


def test_a_diary_is_no_listing_of_papers(tmp_path: Path) -> None:
    found, refused = read(tmp_path, "diary.txt", "2024-01-01\nDid things.\n\n2024-01-02\nDid others.\n")
    assert len(found) == 1 and "Did others." in found[0].text and not refused


def test_parquet_of_wrong_types_and_without_values(tmp_path: Path) -> None:
    from pyarrow import parquet

    texts = arrow.StringArray.from_buffers(3, arrow.py_buffer(b"\0\0\0\0\2\0\0\0\4\0\0\0\6\0\0\0"), arrow.py_buffer(b"ok\xff\xfego"))
    nan = [float("nan")] * 3
    days = arrow.array([0, 0, 253402300800000000], arrow.timestamp("us"))
    parquet.write_table(arrow.table({"text": texts, "id": ["a", "b", "c"], "votes": nan, "title": nan, "x": nan}), tmp_path / "a.parquet")
    found = list(found_in([tmp_path / "a.parquet"]))
    assert [one for one in found if isinstance(one, Document)] == [Document("a", "ok"), Document("c", "go")]
    assert [one.place for one in found if isinstance(one, Refused)] == [f"{tmp_path}/a.parquet:2"]
    parquet.write_table(arrow.table({"text": ["a", "b", "c"], "date": days}), tmp_path / "b.parquet")
    with pytest.raises(DataError, match=r"b\.parquet:3: a value cannot be read"):
        list(records(tmp_path / "b.parquet"))
    parquet.write_table(arrow.table({"text": [b"a"], "id": [1]}), tmp_path / "c.parquet")
    assert "no text" in next(iter(found_in([tmp_path / "c.parquet"]))).why  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("field", "value", "kept"),
    [
        ("votes", "3.0", 3), ("votes", 3.7, None), ("votes", 10**30, None), ("votes", [1], None), ("votes", " 12 ", 12),
        ("date", "2026-11-25T10:00:00Z", datetime.date(2026, 11, 25)), ("date", " 2026-11-25 ", datetime.date(2026, 11, 25)),
        ("date", "2026-11-25garbage", None), ("date", "Nov 25, 2026", None), ("date", 1732492800, None), ("date", [2026], None),
        ("authors", [{"name": "Ada"}, None, 7], ("Ada", "7")), ("authors", 5, ("5",)), ("authors", {"a": 1}, None),
        ("tags", [{"term": "cs.LG"}, "x"], ("cs.LG", "x")), ("title", ["one", "two"], "one two"), ("title", None, ""),
    ],
)  # fmt: skip
def test_a_field_is_read_or_refused_by_name(field: str, value: object, kept: object) -> None:
    if kept is None and value is not None:
        with pytest.raises(ValueError, match=field):
            document_of("a", "text", {field: value})
        with pytest.raises(DataError, match=rf"f\.csv: row 1: .*{field}"):
            list(documents_of([{"anchor": "text", field: value}], "f.csv"))
    else:
        assert getattr(document_of("a", "text", {field: value}), field) == kept


def test_half_a_surrogate_pair_is_refused_by_its_line(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "whole \\ud83d\\ude00"}\n{"text": "half \\uD83D"}\n')
    with pytest.raises(DataError, match=r"a\.jsonl:2: half a surrogate pair"):
        open_rows(tmp_path / "a.jsonl")


def test_metadata_is_what_json_holds() -> None:
    made = document_of("a", "t", {"x": float("nan"), "y": [float("inf"), {"z": float("-inf"), 1: "n"}], "ok": 1.5})
    assert made.metadata == {"y": [None, {"z": None, "1": "n"}], "ok": 1.5}


def test_folders_with_links_to_themselves_pipes_and_strange_names(tmp_path: Path) -> None:
    folder = tmp_path / "notes"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "loop").symlink_to(folder)
    (folder / "self.txt").symlink_to("self.txt")
    (folder / "gone.md").symlink_to("nowhere")
    os.mkfifo(folder / "pipe.txt")
    (folder / "folder.txt").mkdir()
    (folder / "deep" / "a b é😀.txt").write_text("hi")
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff.txt")).write_text("lost")
    found = list(found_in([folder]))
    assert [one.id for one in found if isinstance(one, Document)] == ["deep/a b é😀.txt"]
    refused = [one for one in found if isinstance(one, Refused)]
    assert len(refused) == 1 and refused[0].place.endswith("/\\udcff.txt") and "not UTF-8" in refused[0].why
    json.dumps(refused[0].place, ensure_ascii=False).encode()


def test_a_pdf_that_lies_about_itself_and_one_that_is_locked(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pypdf = pytest.importorskip("pypdf")
    (tmp_path / "plain.pdf").write_bytes(pdf("Contrastive learning explained at length"))
    for name, change in (
        ("day.pdf", lambda to: to.add_metadata({"/CreationDate": "yesterday", "/Author": "Ada; Bob"})),
        ("locked.pdf", lambda to: to.encrypt("secret")),
    ):
        writer = pypdf.PdfWriter(clone_from=tmp_path / "plain.pdf")
        change(writer)
        writer.write(tmp_path / name)
    (day,), (locked,) = (list(found_in([tmp_path / name])) for name in ("day.pdf", "locked.pdf"))
    assert isinstance(day, Document) and (day.authors, day.date) == (("Ada", "Bob"), None)
    assert isinstance(locked, Refused) and "encrypted" in locked.why
    caplog.clear()
    assert read(tmp_path, "half.pdf", pdf("Contrastive learning explained at length")[:300])[1] and not caplog.records


def test_strange_ids_and_texts_are_stored_found_and_deleted(tmp_path: Path) -> None:
    ids = ["a/b", "a b", "😀", "../../etc/passwd", "it's; DROP", "line\nbreak", "nul\0", 'quo"te', "%_\\", "x" * 5000]
    (tmp_path / "a.jsonl").write_text(
        lines(*({"text": f"text {i}\0", "id": id} for i, id in enumerate(ids)), {"text": "w " * 500_000, "id": "long"})
    )
    made, report = ingest(tmp_path / "c", [tmp_path / "a.jsonl"], Letters())
    assert (report.new, report.refused) == (11, ())
    again, report = ingest(tmp_path / "c", [tmp_path / "a.jsonl"], Letters())
    assert report.same == 11
    for id in ids:
        assert [d.id for d in made.get([id])] == [id]
        assert len(made.similar(id, 20)) == 10 and id not in {hit.id for hit in made.similar(id, 20)}
    left = Collection.open(tmp_path / "c").delete(ids)
    assert [d.id for d in left.browse()] == ["long"] and len(again) == 11


def test_bibtex_without_its_package_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pybtex.database", None)
    (tmp_path / "a.bib").write_text("@misc{a, title={A}}")
    with pytest.raises(MissingExtraError, match=r"dipole\[ingest\]"):
        list(bibtex.read(tmp_path / "a.bib"))


@pytest.mark.parametrize("said", ["", "T10:00:00Z", " 10:00", "Z", "+02:00", "-05:00"])
def test_a_day_may_have_a_time_or_a_zone(said: str) -> None:
    assert document_of("a", "b", {"date": f"2026-11-25{said}"}).date == datetime.date(2026, 11, 25)


def test_comments_that_never_end_take_no_time() -> None:
    start = time.monotonic()
    assert feeds.plain("a<!-- b --> c <!-- d") == "a c"
    assert feeds.plain("<!--" * 100_000) == "" and time.monotonic() - start < 5
