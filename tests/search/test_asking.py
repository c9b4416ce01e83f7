"""Collections that change and that are asked in other ways than by the nearest vectors; oracles are loops over the documents."""

from __future__ import annotations

import datetime
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from dipole.core.errors import DataError, UnknownNameError, UsageError
from dipole.search import manifest, nearest
from dipole.search.collection import Collection
from dipole.search.documents import Document, document_of
from dipole.search.filters import Filter, facet, parse_fields
from dipole.search.manifest import Manifest
from dipole.search.write import Changes
from tests.search.test_collection import Letters, numbered, tables

pytest.importorskip("lancedb")
DAY = datetime.date(2026, 1, 1)
GIVEN = {f"p{number}": number % 4 for number in range(0, 40, 3)} | {"p1": 20, "o'clock": 9}  # votes cast meanwhile


class Tokens(Letters):
    """With a vector for each word, so that late interaction has something to compare."""

    def encode_tokens(self, items: Any, batch_size: int = 32, side: str = "") -> list[torch.Tensor]:
        return [self.encode(text.split()) for text in items]


def paper(number: int) -> Document:
    return Document(
        f"p{number}",
        f"text number{number} about {'graphs' if number % 3 == 0 else 'speech'}",
        {"venue": "ACL" if number % 2 else "ICML", "year": 2020 + number % 4, "keywords": ["a", f"k{number % 5}"]},
        title=f"Title {number}",
        authors=("Ada", f"Author {number % 7}"),
        date=DAY + datetime.timedelta(days=number),
        votes=(number * 37) % 11,
        tags=("x", "y") if number % 2 else ("x",),
    )


@pytest.fixture(scope="module")
def papers() -> list[Document]:
    return [paper(i) for i in range(40)]


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory, papers: list[Document]) -> Collection:
    return Collection.create(tmp_path_factory.mktemp("asking") / "c", papers, Letters(), vectors=("title",))


def test_documents_come_back_as_they_were(collection: Collection, papers: list[Document]) -> None:
    assert collection.get([p.id for p in papers]) == papers
    assert collection.get(["p3", "nobody", "p1"]) == [papers[3], papers[1]]
    assert all(hit.document in papers for hit in collection.search(["x"], Letters(), k=3)[0])


@pytest.mark.parametrize(
    ("where", "meets"),
    [
        (Filter(after=DAY + datetime.timedelta(days=30)), lambda d: d.date >= DAY + datetime.timedelta(days=30)),
        (Filter(before=DAY), lambda d: d.date <= DAY),
        (Filter(tags=("x", "y")), lambda d: "y" in d.tags),
        (Filter(author="Author 3"), lambda d: "Author 3" in d.authors),
        (Filter(min_votes=7), lambda d: d.votes >= 7),
        (Filter(min_votes=7, more_votes=GIVEN), lambda d: d.votes + GIVEN.get(d.id, 0) >= 7),
        (Filter(fields={"venue": "ACL", "year": 2021}), lambda d: d.metadata["venue"] == "ACL" and d.metadata["year"] == 2021),
        (Filter(fields={"keywords": "k4"}), lambda d: "k4" in d.metadata["keywords"]),
        (Filter(fields={"venue": "it's"}), lambda d: False),
        (Filter(without=("p0", "p1")), lambda d: d.id not in ("p0", "p1")),
    ],
)
def test_filters_equal_a_loop(collection: Collection, papers: list[Document], where: Filter, meets: Any) -> None:
    wanted = {d.id for d in papers if meets(d)}
    assert {d.id for d in collection.browse(limit=99, where=where)} == wanted
    assert collection.count(where) == len(wanted)
    hits = collection.search(["speech"], Letters(), k=99, where=where)[0]
    assert {hit.id for hit in hits} == wanted and [h.score for h in hits] == sorted((h.score for h in hits), reverse=True)
    assert {hit.id for hit in collection.search_words("text", 99, where)} == wanted


def test_words_find_what_has_them_in_text_or_title(collection: Collection) -> None:
    assert {hit.id for hit in collection.search_words("graph", 99)} == {f"p{i}" for i in range(0, 40, 3)}, "stems"
    assert collection.search_words("title 17", 1)[0].id == "p17"
    for strange in ("", "  ", "!!!", '"unbalanced', "AND OR (", "'; drop table", "日本語", "x" * 10_000):
        assert isinstance(collection.search_words(strange), list)


def test_hybrid_is_reciprocal_rank_fusion_of_its_rankings(collection: Collection, papers: list[Document]) -> None:
    model = Letters()
    hits = collection.search_hybrid("number7", model, k=5)
    query = model.encode(["number7"])
    rankings = []
    for texts in ([p.text for p in papers], [p.title for p in papers]):
        order = (model.encode(texts) @ query[0]).argsort(descending=True)[:25].tolist()
        rankings.append([papers[i].id for i in order])
    rankings.append([hit.id for hit in collection.search_words("number7", 25)])
    total: dict[str, float] = {}
    for ranking in rankings:
        for rank, id in enumerate(ranking, 1):
            total[id] = total.get(id, 0.0) + 1 / (60 + rank)
    assert [hit.score for hit in hits] == pytest.approx(sorted(total.values(), reverse=True)[:5])
    assert all(total[hit.id] == pytest.approx(hit.score) for hit in hits) and rankings[2] == ["p7"]


def test_late_interaction_is_max_sim_over_the_candidates(tmp_path: Path, papers: list[Document]) -> None:
    model = Tokens()
    made = Collection.create(tmp_path / "c", papers, model, vectors=("tokens",))
    hits = made.search_late("speech number7 graphs", model, k=8)
    query = model.encode_tokens(["speech number7 graphs"])[0].half().float()
    found = {
        p.id: float((query @ t.half().float().T).amax(1).sum())
        for p, t in zip(papers, model.encode_tokens([p.text for p in papers]), strict=True)
    }
    assert [hit.id for hit in hits] == sorted(found, key=lambda i: -found[i])[:8]
    assert [hit.score for hit in hits] == pytest.approx([found[h.id] for h in hits], rel=2e-3)
    with pytest.raises(UsageError, match="vectors tokens"):
        Collection.create(tmp_path / "d", papers, Letters()).search_late("x", Letters())
    with pytest.raises(UsageError, match="gives no vectors of tokens"):
        Collection.create(tmp_path / "e", papers, Letters(), vectors=("tokens",))


def test_similar_leaves_the_document_itself_out(collection: Collection, papers: list[Document]) -> None:
    vectors = Letters().encode([p.text for p in papers])
    scores = vectors @ vectors[5]
    scores[5] = -9
    assert [hit.id for hit in collection.similar("p5", 3)] == [f"p{i}" for i in scores.argsort(descending=True)[:3].tolist()]
    assert all("y" in hit.tags for hit in collection.similar("p5", 3, Filter(tags=("y",))))
    with pytest.raises(DataError, match="'nobody'"):
        collection.similar("nobody")


def test_lists_equal_sorting_the_documents(collection: Collection, papers: list[Document]) -> None:
    today = DAY + datetime.timedelta(days=45)
    trend = lambda d, more=0: (d.votes + more) / ((today - d.date).days + 2) ** 1.5  # noqa: E731
    for order, key in (("newest", lambda d: d.date.toordinal()), ("votes", lambda d: d.votes), ("trending", trend)):
        listed = collection.browse(order, 15, today=today)
        assert [key(d) for d in listed] == sorted((key(d) for d in papers), reverse=True)[:15]
    assert collection.browse("stored", 3, 10) == papers[10:13]
    assert collection.browse("newest", 10, 39) == [papers[0]] and collection.browse("newest", 10, 40) == []
    assert collection.browse("trending", 1, today=today, more_votes={"p2": 10_000})[0].id == "p2"
    with pytest.raises(UnknownNameError, match="did you mean 'newest'"):
        collection.browse("newst")


def test_an_empty_collection_has_no_answers(tmp_path: Path) -> None:
    empty, model = Collection.create(tmp_path / "c", [], Letters()), Letters()
    assert empty.search_words("x") == empty.search_hybrid("x", model) == empty.browse() == empty.get(["a"]) == empty.near_duplicates() == []
    assert empty.count() == empty.count(Filter(tags=("x",))) == 0


def test_near_duplicates_are_grouped(tmp_path: Path) -> None:
    texts = ["alpha", "beta", "alpha", "gamma", "beta", "alpha", "delta"]
    made = Collection.create(tmp_path / "c", [Document(str(i), t) for i, t in enumerate(texts)], Letters())
    assert made.near_duplicates(0.99) == [["0", "2", "5"], ["1", "4"]]
    groups = made.grouped(made.search(["alpha"], Letters(), k=7)[0], 0.99)
    assert [h.id for h in groups[0]] == ["0", "2", "5"] and sorted(len(g) for g in groups) == [1, 1, 2, 3]


def test_upsert_adds_replaces_and_encodes_only_new_texts(tmp_path: Path, papers: list[Document]) -> None:
    model = Letters()
    made = Collection.create(tmp_path / "c", papers[:10], model, vectors=("title",))
    voted = document_of(papers[3].id, papers[3].text, {**papers[3].metadata, "title": papers[3].title, "votes": 99})
    reworded = Document("p4", "another text")
    encoded: list[str] = []
    plain = model.encode
    model.encode = lambda items, **kwargs: (encoded.extend(items), plain(items, **kwargs))[1]  # type: ignore[method-assign, assignment]
    made, changes = made.upsert([papers[2], voted, reworded, papers[20]], model)
    assert changes == Changes(new=1, changed=2, same=1) and len(made) == 11
    assert sorted(encoded) == sorted(["another text", papers[20].text, papers[20].title])
    assert made.get(["p3", "p4", "p2"]) == [voted, reworded, papers[2]]
    assert made.search_vectors(plain(["another text"]), 1)[0][0].id == "p4"
    assert {h.id for h in made.search_words("another")} == {"p4"} and made.search_words("number4") == []
    again, changes = made.upsert([papers[2], voted, reworded, papers[20]], model)
    assert changes == Changes(0, 0, 4) and again.manifest == made.manifest, "nothing to do, nothing is written"


READING = """
import sys
import torch
from dipole.search.collection import Collection
held = Collection.open(sys.argv[1])
print("open", flush=True)
sys.stdin.readline()
print(len(held.browse(limit=99)), len(held.search_vectors(torch.ones(1, held.manifest.dimension), 99)[0]), flush=True)
sys.stdin.readline()
"""


def test_delete_rollback_and_compaction(tmp_path: Path, papers: list[Document]) -> None:
    model = Letters()
    made = Collection.create(tmp_path / "c", papers, model)
    fewer = made.delete(["p0", "p39"])
    assert (len(fewer), len(made.browse(limit=99)), len(fewer.browse(limit=99))) == (38, 40, 38)
    assert "p0" not in {h.id for h in fewer.search(["x"], model, k=99)[0]}
    with pytest.raises(DataError, match=r"1 of 2 ids .*'p0'"):
        fewer.delete(["p1", "p0"])
    assert [m.what for m in fewer.history()] == ["create", "delete"]
    back = fewer.rollback(1)
    assert back.get(["p0"]) == [papers[0]] and len(back) == 40 and back.manifest.number == 3
    with pytest.raises(UsageError, match=r"no commit 9 .* 1, 2, 3"):
        back.rollback(9)
    grown = back.append(numbered(0, 3), model)
    assert {d.id for d in grown.browse(limit=99)} == {p.id for p in papers} | {"0", "1", "2"}, (
        "an append goes on from what was gone back to"
    )
    small = grown.compact()
    assert [m.what for m in small.history()] == ["append", "compact"]
    assert {d.id for d in small.browse(limit=99)} == {d.id for d in grown.browse(limit=99)}, "who has it open can go on reading"
    del made, fewer, back, grown  # what somebody reads stays
    small = small.compact(keep=1)
    assert [m.what for m in small.history()] == ["compact"] and len(tables(tmp_path / "c")) == 1
    with pytest.raises(UsageError, match="no commit 1"):
        small.rollback(1)


def test_what_somebody_reads_stays_however_often_it_is_compacted(tmp_path: Path, papers: list[Document]) -> None:
    model = Letters()
    Collection.create(tmp_path / "c", papers, model)
    other = subprocess.Popen(
        [sys.executable, "-c", READING, str(tmp_path / "c")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    try:
        assert other.stdout is not None and other.stdin is not None and other.stdout.readline() == "open\n"
        for number in range(3):
            Collection.open(tmp_path / "c").append(numbered(number, number + 1), model).compact()
        assert len(tables(tmp_path / "c")) == 3  # the last two, and the one that is being read
        other.stdin.write("read\n")
        assert other.stdout.readline() == "40 40\n"
    finally:
        other.kill()  # the system takes a killed reader's lock away
        other.communicate()
    Collection.open(tmp_path / "c").append(numbered(9, 10), model)
    assert len(tables(tmp_path / "c")) == 2


def test_whoever_opens_while_it_is_compacted_gets_what_counts(
    tmp_path: Path, papers: list[Document], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Letters()
    Collection.create(tmp_path / "c", papers, model)
    read, before = manifest.read, []

    def slowly(folder: Path) -> Manifest:
        found = read(folder)
        if not before:
            before.append(found)
            for _ in range(2):  # between reading which table counts and opening it
                Collection(folder, read(folder)).compact()
        return found

    monkeypatch.setattr(manifest, "read", slowly)
    assert len(Collection.open(tmp_path / "c").browse(limit=99)) == 40
    assert not (tmp_path / "c" / f"{before[0].table}.lance").exists()


def test_an_index_answers_with_the_recall_it_was_measured_to_have(tmp_path: Path) -> None:
    model = Letters(dimension=24)
    made = Collection.create(tmp_path / "c", numbered(0, 3000), model)
    fast, built = made.index("ivf-flat", recall=0.9, queries=40)
    assert built.recall >= 0.9 and 1 <= built.probes <= built.cells
    queries = model.encode([f"q{i}" for i in range(30)])
    exact = fast.search_vectors(queries, 10, exact=True)
    near = fast.search_vectors(queries, 10)
    assert exact == made.search_vectors(queries, 10)
    share = sum(len({h.id for h in a} & {h.id for h in b}) for a, b in zip(exact, near, strict=True)) / 300
    assert (share > 0.6 and share < 1) or built.probes == built.cells
    for hits, truth in zip(near, exact, strict=True):
        scores = {h.id: h.score for h in truth}
        assert all(scores[h.id] == pytest.approx(h.score, abs=1e-4) for h in hits if h.id in scores)
    even = Filter(fields={"parity": 0})
    assert all(h.metadata["parity"] == 0 for h in fast.search_vectors(queries[:1], 10, even)[0])
    grown = fast.append(numbered(3000, 3001), model)  # not in the index yet, found all the same
    assert grown.search_vectors(model.encode(["003000"]), 1)[0][0].id == "3000"
    with pytest.raises(UsageError, match="answered exactly"):
        Collection.create(tmp_path / "d", numbered(0, 10), model).index()
    with pytest.raises(UnknownNameError, match="did you mean 'ivf-flat'"):
        made.index("ivfflat")


def test_fusion_by_hand() -> None:
    assert nearest.fused([[(9.0, 1), (8.0, 2)], [(0.3, 2), (0.2, 3)]], 3) == [
        (pytest.approx(1 / 61 + 1 / 62), 2),
        (pytest.approx(1 / 61), 1),
        (pytest.approx(1 / 62), 3),
    ]


def test_fields_are_typed_and_refused_by_name() -> None:
    made = document_of("1", "t", {"authors": "Ada; Bob", "tags": "a, b", "date": "2026-11-25T10:00", "votes": "3", "k": None, "venue": "X"})
    assert (made.authors, made.tags, made.date, made.votes) == (("Ada", "Bob"), ("a", "b"), datetime.date(2026, 11, 25), 3)
    assert made.metadata == {"venue": "X"}
    for bad in ({"date": "yesterday"}, {"votes": -1}, {"votes": "many"}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            document_of("1", "t", bad)
    assert parse_fields(["a=1", "b=x=y"]) == {"a": "1", "b": "x=y"} and facet("a", 1) == facet("a", "1") != facet("a", True)
    for bad_setting in ("nothing", "=1"):
        with pytest.raises(UsageError, match="--field"):
            parse_fields([bad_setting])


def test_a_compaction_that_is_refused_leaves_open_what_was_open(tmp_path: Path, papers: list[Document]) -> None:
    made = Collection.create(tmp_path / "c", papers, Letters())
    with manifest.writing(tmp_path / "c"), pytest.raises(UsageError, match="is being written"):
        made.compact(keep=1)
    for _ in range(2):
        Collection.open(tmp_path / "c").compact(keep=1)
    assert len(made.browse(limit=99)) == 40
