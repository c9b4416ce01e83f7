"""The pages as HTML: what they list, what they link to, what they refuse. A plain client, without a script."""

from __future__ import annotations

import datetime
import html
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import pytest

pytest.importorskip("lancedb")
pytest.importorskip("fastapi")
pytest.importorskip("httpx")

import httpx

from dipole.search.collection import Collection
from dipole.search.documents import Document
from dipole.serve.held import Held
from dipole.serve.page import atlas, excerpt, nearest
from dipole.serve.page.atlas import draw
from dipole.serve.page.excerpt import marked, sentences, stems
from dipole.serve.page.survey import Survey, Surveys
from tests.serve.site import HOSTILE, TODAY, TOPICS, Words, collection, papers, served

HTML = {"accept": "text/html"}


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Collections: of papers, of hostile ones, one without days, one without documents."""
    home = tmp_path_factory.mktemp("shelf")
    collection(home / "a_papers", papers())
    collection(home / "hostile", HOSTILE)
    collection(home / "undated", [Document(f"u{i}", f"text number {i} of many", votes=i) for i in range(45)])
    collection(home / "void", [])
    return home


@pytest.fixture(scope="module")
def address(shelf: Path) -> Iterator[str]:
    with served(shelf) as found:
        yield found


@pytest.fixture
def client(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address, headers=HTML, follow_redirects=True) as found:
        yield found


def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never was"
        time.sleep(0.02)


def titles(text: str) -> list[str]:
    return [re.sub(r"<[^>]+>", "", found) for found in re.findall(r'<a class="open" href="[^"]*">(.*?)</a>', text)]


def token(text: str) -> str:
    return re.findall(r'name="token" value="([^"]+)"', text)[0]


# -- lists ----------------------------------------------------------------------------------------------------------------


def test_home_shows_the_latest_days_until_there_is_enough(client: httpx.Client) -> None:
    text = client.get("/").text
    days = sorted({p.date for p in papers() if p.date}, reverse=True)
    first = [p for p in papers() if p.date in days[:2]]  # four a day, eight are enough
    assert sorted(titles(text)) == sorted(p.title for p in first)
    assert text.index(f"{days[0].day} {days[0]:%B} {days[0].year}") < text.index(f"{days[1].day} {days[1]:%B} {days[1].year}")


def test_a_day_lists_its_documents_by_votes_and_steps_over_empty_days(client: httpx.Client) -> None:
    days = sorted({p.date for p in papers() if p.date})
    text = client.get(f"/day/{days[4]}").text
    wanted = sorted((p for p in papers() if p.date == days[4]), key=lambda p: -p.votes)
    shown = [next(p for p in papers() if p.title == title) for title in titles(text)]
    assert {p.id for p in shown} == {p.id for p in wanted} and [p.votes for p in shown] == [p.votes for p in wanted]
    assert (f'rel="prev" href="/day/{days[3]}"' in text) and (f'rel="next" href="/day/{days[5]}"' in text)
    empty = days[4] + datetime.timedelta(days=1)
    assert empty not in days
    text = client.get(f"/day/{empty}").text
    assert "Nothing on this day" in text and f'href="/day/{days[4]}"' in text and f'href="/day/{days[5]}"' in text
    assert client.get("/day", params={"on": str(days[0])}).url.path == f"/day/{days[0]}"
    assert client.get("/day/yesterday").status_code == 404


def test_a_week_holds_its_seven_days(client: httpx.Client) -> None:
    iso = (TODAY - datetime.timedelta(days=14)).isocalendar()
    text = client.get(f"/week/{iso.year}-W{iso.week:02d}").text
    wanted = {p.title for p in papers() if p.date and p.date.isocalendar()[:2] == iso[:2]}
    assert set(titles(text)) == wanted and wanted
    assert client.get("/week").status_code == 200 and client.get("/week/2026-W60").status_code == 404


def test_newest_pages_hold_everything_once(client: httpx.Client) -> None:
    seen: list[str] = []
    where = "/newest"
    while where:
        text = client.get(where).text
        seen += titles(text)
        found = re.search(r'<a rel="next" href="([^"]+)">Next page', text)
        where = found[1].replace("&amp;", "&") if found else ""
    assert Counter(seen) == Counter(p.title for p in papers())
    dates = [next(p.date for p in papers() if p.title == title) for title in seen]
    assert dates == sorted(dates, reverse=True)  # type: ignore[type-var]


def test_documents_without_days_are_listed_by_votes(client: httpx.Client) -> None:
    text = client.get("/", params={"collection": "undated"}).text
    assert titles(text)[:2] == ["text number 44 of many", "text number 43 of many"] and ">Week<" not in text
    assert 'href="/by-votes?collection=undated&amp;page=2"' in text and 'class="text"' not in text  # the title says it all
    assert len(titles(client.get("/by-votes?collection=undated&page=3").text)) == 5


def test_an_empty_collection_says_so_everywhere(client: httpx.Client) -> None:
    for path in ("/", "/trending", "/find?q=graphs", "/find?q=graphs&how=words", "/map", "/saved", "/week", "/feeds/newest.atom"):
        answer = client.get(path, params={**parse_qs(urlsplit(path).query), "collection": "void"})
        assert answer.status_code == 200
    assert "This collection is empty" in client.get("/find", params={"q": "graphs", "collection": "void"}).text


# -- search ---------------------------------------------------------------------------------------------------------------


def test_search_answers_as_the_collection_does_and_marks_the_nearest_sentence(client: httpx.Client, shelf: Path) -> None:
    q = "spoken words matter most where data are scarce"
    text = client.get("/find", params={"q": q}).text
    hits = Collection.open(shelf / "a_papers").search([q], Words(), k=20)[0]
    groups = Collection.open(shelf / "a_papers").grouped(hits)
    assert titles(text) == [group[0].title for group in groups]
    model = Words()
    first = hits[0].document
    best = max((first.text[a:b] for a, b in sentences(first.text)), key=lambda s: float((model.encode([s]) @ model.encode([q]).T)[0, 0]))
    assert f'<mark class="near">{best}</mark>' in text
    quick = client.get("/find", params={"q": q, "quick": "1"}).text
    assert "<mark" not in quick and titles(quick) == titles(text)


def test_words_are_marked_with_their_endings(client: httpx.Client) -> None:
    text = client.get("/find", params={"q": "molecules graph", "how": "words"}).text
    assert '<mark class="word">molecule</mark>' in text and '<mark class="word">graphs</mark>' in text
    assert "No document has these words" in client.get("/find", params={"q": "xylophone", "how": "words"}).text
    both = client.get("/find", params={"q": "molecule graphs", "how": "hybrid"}).text
    assert 'class="near word"' in both


def test_filters_narrow_with_and_without_a_query(client: httpx.Client) -> None:
    until = TODAY - datetime.timedelta(days=10)
    asked = {"tag": "graphs", "before": str(until), "field": "venue=ACL", "min_votes": "2"}
    wanted = {p.title for p in papers() if "graphs" in p.tags and p.date <= until and p.metadata["venue"] == "ACL" and p.votes >= 2}  # type: ignore[operator]
    assert wanted
    for q in ("", "node embeddings"):
        assert set(titles(client.get("/find", params={**asked, "q": q}).text)) == wanted
    assert set(titles(client.get("/find", params={"author": "Kurt Gödel"}).text)) <= {
        p.title for p in papers() if "Kurt Gödel" in p.authors
    }
    assert "Take one away" in client.get("/find", params={"tag": "nothing"}).text
    wrong = client.get("/find", params={"q": "x", "after": "last week"})
    assert wrong.status_code == 400 and "a day is written like 2026-11-25" in wrong.text
    assert client.get("/find", params={"q": "x", "after": "2026-02-01", "before": "2026-01-01"}).status_code == 400
    assert client.get("/find", params={"q": "x" * 3000}).status_code == 400
    form = client.get("/find", params=asked).text
    assert re.search(r'value="graphs" checked', form) and 'value="venue=ACL" selected' in form


def test_near_duplicates_stand_behind_the_best(tmp_path: Path) -> None:
    twins = [Document(f"t{i}", "the very same text about turtles and tides", title=f"Twin {i}") for i in range(3)]
    collection(tmp_path / "c", [*twins, Document("other", "something else entirely about mountains", title="Other")])
    with served(tmp_path / "c") as address:
        text = httpx.get(f"{address}/find?q=turtles", headers=HTML).text
    assert titles(text) == ["Twin 0", "Other"] and "2 nearly the same" in text and ">Twin 2</a>" in text


def test_more_like_this_leaves_itself_out(client: httpx.Client, shelf: Path) -> None:
    text = client.get("/like", params={"id": "p07"}).text
    hits = Collection.open(shelf / "a_papers").similar("p07", 20)
    shown = titles(text)
    assert shown[0] == hits[0].title and papers()[7].title not in shown
    assert client.get("/like", params={"id": "nobody"}).status_code == 404


# -- one document ---------------------------------------------------------------------------------------------------------


def test_an_item_shows_every_field_and_links_to_others_of_its_kind(client: httpx.Client) -> None:
    paper = papers()[8]
    text = client.get("/item/p08").text
    assert f"<title>{paper.title} · a papers</title>" in text
    for author in paper.authors:
        assert f">{author}</a>" in text
    assert f'href="{paper.url}" rel="noopener nofollow ugc"' in text and "4 authors" in text
    assert 'href="/find?field=venue%3DNeurIPS"' in text and f'href="/find?tag={paper.tags[0]}"' in text
    assert len(re.findall(r"<ol class=\"compact\">.*?</ol>", text, re.DOTALL)[0].split("<li>")) == 9


def test_nothing_given_becomes_markup_or_a_script_link(client: httpx.Client) -> None:
    pages = [
        client.get(path, params={**parse_qs(urlsplit(path).query), "collection": "hostile"})
        for path in ("/", "/find?q=two sentences", "/map")
    ]
    pages += [client.get("/find", params={"q": '"><script>alert(1)</script>{{7*7}}', "collection": "hostile"})]
    links = [link for link in re.findall(r'<a class="open" href="([^"]+)"', pages[0].text)]
    assert len(links) == len(HOSTILE)
    pages += [client.get(link.replace("&amp;", "&")) for link in links]  # ids of all kinds are reached
    for page in pages:
        assert page.status_code == 200
        assert not re.search(
            r"<script(?! src=\"/static/)|<img|<svg onload|<b>|onerror=alert\(1\)>|href=\"\s*javascript", page.text, re.IGNORECASE
        )
        assert not re.search(r"\sstyle=|\son\w+=\"", page.text)
        assert "49" not in titles(page.text)
    assert any("javascript:alert(document.domain)" in page.text for page in pages)  # as text, never as a link
    feed = client.get("/feeds/newest.atom", params={"collection": "hostile"}).text
    assert "\x08" not in feed and "javascript" not in feed


# -- votes, saved, read ---------------------------------------------------------------------------------------------------


def test_a_vote_without_a_script_counts_in_every_list(client: httpx.Client) -> None:
    page = client.get("/item/p13").text
    cookie = httpx.get(f"{client.base_url}/item/p13").headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=lax" in cookie and "set-cookie" not in client.get("/item/p13").headers
    sent = {"token": token(page), "id": "p13", "do": "vote", "next": "/item/p13#item-1"}
    answer = client.post("/mark", data=sent, follow_redirects=False)
    assert answer.status_code == 303 and answer.headers["location"] == "/item/p13#item-1"
    before = papers()[13].votes
    assert f'<span class="count">{before + 1}</span>' in client.get("/item/p13").text
    assert 'aria-pressed="true"' in client.get("/item/p13").text
    paper = papers()[13]
    for path in ("/newest?page=1", f"/day/{paper.date}", f"/find?how=words&q={paper.title}", "/find?author=" + paper.authors[0]):
        row = next(part for part in client.get(path).text.split("<article")[1:] if 'name="id" value="p13"' in part)
        assert f'<span class="count">{before + 1}</span>' in row and 'value="unvote" aria-pressed="true"' in row, path
    assert client.post("/mark", data=sent, headers={"accept": "application/json"}).json() == {
        "id": "p13",
        "kind": "vote",
        "on": True,
        "votes": before + 1,
        "shown": str(before + 1),
    }
    assert client.post("/mark", data={**sent, "do": "unvote"}, headers={"accept": "application/json"}).json()["votes"] == before


def test_trending_follows_votes_given_here_and_their_age(client: httpx.Client, address: str) -> None:
    newest, oldest = papers()[0], papers()[59]
    assert newest.date == TODAY and newest.votes == 0 and titles(client.get("/trending").text)[0] != newest.title
    with httpx.Client(base_url=address, headers={"accept": "application/json"}) as other:
        for _ in range(12):
            other.cookies.clear()
            for paper in (newest, oldest):
                other.post("/mark", data={"token": token(other.get("/help").text), "id": paper.id, "do": "vote"})
    shown = titles(client.get("/trending").text)
    assert shown[0] == newest.title and oldest.title not in shown[:5]
    assert titles(client.get("/find?min_votes=1&tag=contrastive").text)


def test_saved_and_read_are_the_visitors_own_until_forgotten(client: httpx.Client, address: str) -> None:
    form = {"token": token(client.get("/").text), "id": "p20"}
    for deed in ("save", "read"):
        client.post("/mark", data={**form, "do": deed})
    assert titles(client.get("/saved").text) == titles(client.get("/read").text) == [papers()[20].title]
    assert titles(httpx.get(f"{address}/saved", headers=HTML).text) == []
    client.post("/forget", data=form)
    assert titles(client.get("/saved").text) == []
    assert "Nothing saved yet" in client.get("/saved").text


def test_a_form_from_elsewhere_is_refused(client: httpx.Client, address: str) -> None:
    page = client.get("/").text
    good = {"token": token(page), "id": "p02", "do": "vote"}
    refused = client.post("/mark", data={**good, "token": "x"})
    assert refused.status_code == 403 and "<h1>" in refused.text
    assert client.post("/mark", data=good, headers={"sec-fetch-site": "cross-site"}).status_code == 403
    with httpx.Client(base_url=address) as other:
        assert other.post("/mark", data=good).status_code == 403  # no cookie
        other.get("/")
        assert other.post("/mark", data=good).status_code == 403  # another visitor's token
    assert client.post("/mark", json=good).status_code == 415
    assert client.post("/mark", content=b"token=%ff\xff", headers={"content-type": "application/x-www-form-urlencoded"}).status_code == 400
    assert client.post("/mark", data={**good, "do": "like"}).status_code == 400
    assert client.post("/mark", data={**good, "id": "nobody"}).status_code == 404
    for elsewhere in ("https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)", "\n//evil.example"):
        answer = client.post("/mark", data={**good, "do": "unvote", "next": elsewhere}, follow_redirects=False)
        assert answer.headers["location"] == "/"


def test_the_theme_is_remembered(client: httpx.Client) -> None:
    page = client.get("/help").text
    assert "data-theme" not in page
    assert client.post("/theme", data={"token": token(page), "theme": "dark", "next": "/help"}).url.path == "/help"
    assert '<html lang="en" data-theme="dark">' in client.get("/").text
    client.post("/theme", data={"token": token(page), "theme": "pink"})
    assert 'data-theme="dark"' in client.get("/").text


# -- errors, feeds, files -------------------------------------------------------------------------------------------------


def test_errors_are_pages_for_people_and_json_for_programs(client: httpx.Client, address: str) -> None:
    for path, status in (
        ("/nowhere", 404),
        ("/item/nobody", 404),
        ("/newest?page=0", 422),
        ("/?collection=nobody", 404),
        ("/static/..%2fview.py", 404),
    ):
        page = client.get(path)
        assert page.status_code == status and "<h1>" in page.text and page.headers["content-type"].startswith("text/html")
        told = httpx.get(f"{address}{path}")
        assert told.status_code == status and told.json()["status"] == status
    assert client.get("/search").headers["content-type"].startswith("application/problem+json")  # a browser at the API
    assert client.get("/mark").status_code == 405


def test_an_address_that_asks_for_too_much_is_told_in_words(client: httpx.Client) -> None:
    for path, said in (
        ("/find?q=a&page=11", "“page” in this address must be less than or equal to 10."),
        ("/find?q=a&how=magic", "“how” in this address must be"),
        ("/like", "“id” in this address: Field required."),
    ):
        answer = client.get(path)
        assert answer.status_code == 422 and said in html.unescape(answer.text) and "Input" not in answer.text
    beyond = client.get("/newest?page=300").text
    assert 'rel="prev" href="/newest?page=3"' in beyond  # to the last page there is


def test_after_the_last_document_of_a_day_stand_its_neighbours(client: httpx.Client) -> None:
    days = sorted({p.date for p in papers() if p.date})
    text = client.get(f"/day/{days[3]}").text
    foot = text[text.rindex('<article class="row') :]
    for date, way in ((days[2], "prev"), (days[4], "next")):
        assert f'rel="{way}" href="/day/{date}"' in foot and f"{date:%A}, {date.day}" in foot
    assert 'rel="prev"' in client.get("/").text.rpartition("</article>")[2]
    assert "after the last" not in client.get("/trending").text


def test_feeds_can_be_read(client: httpx.Client, address: str) -> None:
    feedparser = pytest.importorskip("feedparser")
    newest = feedparser.parse(client.get("/feeds/newest.atom").text)
    assert not newest.bozo and len(newest.entries) == 40 and newest.feed.title == "a papers: newest"
    entry = newest.entries[0]
    paper = next(p for p in papers() if p.title == entry.title)
    assert (
        entry.summary == paper.text and entry.published[:10] == str(paper.date) and [a.name for a in entry.authors] == list(paper.authors)
    )
    assert client.get(entry.link).status_code == 200 and entry.link.startswith(address)
    found = feedparser.parse(client.get("/feeds/search.atom", params={"q": "prosody"}).text)
    assert not found.bozo and any("rosody" in e.title for e in found.entries)
    assert len({e.id for e in newest.entries}) == 40
    hostile = feedparser.parse(client.get("/feeds/newest.atom", params={"collection": "hostile"}).text)
    assert not hostile.bozo and len(hostile.entries) == len(HOSTILE)
    assert client.get("/feeds/oldest.atom").status_code == 422


def test_files_are_kept_for_good_by_an_address_that_changes(client: httpx.Client) -> None:
    page = client.get("/").text
    for name in ("page.css", "page.js", "icon.svg"):
        link = re.findall(rf'(/static/{re.escape(name)}\?v=\w+)"', page)[0]
        answer = client.get(link)
        assert answer.status_code == 200 and "immutable" in answer.headers["cache-control"]
    assert client.get("/favicon.ico").headers["content-type"] == "image/svg+xml"
    assert page.startswith("<!doctype html>") and client.get("/").headers["cache-control"] == "private, no-cache"


def test_a_commit_shows_on_the_page_and_leaves_votes_alone(tmp_path: Path) -> None:
    made = collection(tmp_path / "c", papers()[:5])
    with served(tmp_path / "c", reload_seconds=0.05) as address, httpx.Client(base_url=address, headers=HTML) as client:
        client.post("/mark", data={"token": token(client.get("/").text), "id": "p00", "do": "vote"})
        for write in (
            lambda c: c.upsert(papers()[5:7], Words())[0],
            lambda c: c.compact(1),
            lambda c: Collection.rebuild(c.folder, papers()[:7], Words()),
        ):
            made = write(made)
        until(lambda: len(titles(client.get("/newest").text)) == 7)
        assert f'<span class="count">{papers()[0].votes + 1}</span>' in client.get("/item/p00").text


# -- the map --------------------------------------------------------------------------------------------------------------


def test_the_map_holds_a_sample_with_regions_of_one_topic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = collection(tmp_path / "c", papers())
    drawn = draw(made)
    assert drawn == draw(made) and {point[3] for point in drawn.points} == {p.id for p in papers()}
    assert max(abs(value) for point in drawn.points for value in point[:2]) == pytest.approx(1)
    assert sum(region.count for region in drawn.regions) == 60 and len({region.name for region in drawn.regions}) == len(drawn.regions)
    by_region: dict[int, Counter[str]] = {}
    for point in drawn.points:
        by_region.setdefault(point[2], Counter())[point[5][0]] += 1
    same = sum(counter.most_common(1)[0][1] for counter in by_region.values())
    assert same >= 0.6 * 60  # of five equal topics, chance would be a fifth and a little
    monkeypatch.setattr(atlas, "MOST_POINTS", 20)
    few = draw(made, most=20)
    assert len(few.points) == 20 and "20 of 60 documents" in few.about
    assert draw(collection(tmp_path / "small", papers()[:2])).points == ()
    same_text = collection(tmp_path / "same", [Document(str(i), "one text") for i in range(9)])
    assert len(draw(same_text).regions) == 1


def test_the_map_is_drawn_once_and_kept(client: httpx.Client, shelf: Path) -> None:
    until(lambda: client.get("/map/points").status_code == 200)
    answer = client.get("/map/points")
    assert len(answer.json()["points"]) == 60
    assert (shelf / "state" / "maps" / "a_papers.json").is_file()
    text = client.get("/map").text
    assert answer.json()["regions"][0]["name"] in text and "Every dot is a document" in text
    assert client.get("/map/points", params={"collection": "void"}).json()["points"] == []


# -- pieces ---------------------------------------------------------------------------------------------------------------


def test_an_excerpt_is_cut_around_what_matters() -> None:
    text = "First sentence of the text. " * 30 + "The needle is here. " + "More follows after it. " * 30
    start = text.index("The needle")
    pieces = marked(text, frozenset(), (start, start + 19), 200)
    assert pieces[0].text == "… " and pieces[1].text == "The needle is here." and pieces[1].kind == "near" and pieces[-1].text == " …"
    assert "".join(p.text for p in marked(text, frozenset(), (start, start + 19))) == text
    by_word = marked(text, stems("needles"), None, 200)
    assert [p.text for p in by_word if p.kind] == ["needle"]
    assert "".join(p.text for p in marked("short", frozenset(), None, 200)) == "short"


def test_sentences_end_where_they_end() -> None:
    def of(text: str) -> list[str]:
        return [text[a:b] for a, b in sentences(text)]

    assert of("See Fig. 2 and e.g. J. Smith et al. for 3.5 points. Then \"what?\" A list\n\nA heading\n\nThe end") == [
        "See Fig. 2 and e.g. J. Smith et al. for 3.5 points.", 'Then "what?"', "A list", "A heading", "The end",
    ]  # fmt: skip
    assert of("一つ。二つ。") == ["一つ。", "二つ。"] and of("   ") == [] and len(sentences("A bee. " * 100, most=7)) == 7
    assert excerpt.title_of(Document("x", "word " * 60)).endswith(" …")


def test_sentences_are_encoded_within_the_budget_and_once(tmp_path: Path) -> None:
    class Counting(Words):
        asked = 0

        def encode(self, items, batch_size=32, progress=False, side=""):  # type: ignore[no-untyped-def]
            self.asked += len(items)
            return super().encode(items, batch_size, progress, side)

    held = Held("c", collection(tmp_path / "c", papers()), Counting())
    finder = nearest.Sentences(kept=5)
    documents = papers()[:10]
    assert len(finder.near(held, "prosody", documents, budget=12)) == 3  # of four sentences each
    assert held.encoder.asked == 13  # and the query
    held.encoder.asked = 0
    assert set(finder.near(held, "prosody", documents[:3], budget=0)) == {d.id for d in documents[:3]}
    assert held.encoder.asked == 1
    finder.near(held, "prosody", documents[3:8])
    assert finder.near(held, "prosody", documents[:3], budget=0) == {}  # the oldest were forgotten


def test_sentences_are_encoded_in_small_parts_and_no_longer_than_anybody_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, asked = [0.0], list[int]()
    monkeypatch.setattr(nearest, "time", SimpleNamespace(monotonic=lambda: clock[0]))

    class Slow(Words):
        def encode(self, items, batch_size=32, progress=False, side=""):  # type: ignore[no-untyped-def]
            asked.append(len(items))
            clock[0] += 1
            return super().encode(items, batch_size, progress, side)

    held = Held("c", collection(tmp_path / "c", papers()), Slow())
    near = nearest.Sentences().near(held, "prosody", papers()[:16], patience=1.5)
    assert asked == [16, 16, 1]  # two parts of four documents with four sentences each, and the query
    assert set(near) == {paper.id for paper in papers()[:8]}  # the first ones


def test_a_survey_offers_what_is_worth_choosing(tmp_path: Path) -> None:
    held = collection(tmp_path / "c", papers())
    found = Survey.of(held)
    assert dict(found.days) == Counter(p.date for p in papers()) and [d for d, _ in found.days] == sorted(d for d, _ in found.days)
    assert dict(found.tags) == Counter(tag for p in papers() for tag in p.tags) and found.voted
    assert [(name, dict(values)) for name, values in found.fields] == [
        ("venue", dict.fromkeys(("ACL", "ICML", "NeurIPS"), 20))
    ]  # pages differ
    assert set(TOPICS) < set(dict(found.tags))
    days = [day for day, _ in found.days]
    assert found.beside(days[1]) == (days[0], days[2]) and found.beside(days[-1] + datetime.timedelta(days=9)) == (days[-1], None)


def test_the_choices_of_a_large_collection_are_counted_in_the_background(tmp_path: Path) -> None:
    surveys = Surveys(at_once=10)
    held = Held("c", collection(tmp_path / "c", papers()[:30]), Words())
    assert surveys.of(held).days and surveys.of(held).tags == ()  # nobody waits
    until(lambda: dict(surveys.of(held).tags) == Counter(tag for p in papers()[:30] for tag in p.tags))
    later = Held("c", held.collection.upsert(papers()[30:], Words())[0], Words())
    assert sum(count for _, count in surveys.of(later).days) == 60
    assert sum(count for _, count in surveys.of(later).tags) in (35, 69)  # the version before's, or counted already
    until(lambda: surveys.of(later) == Survey.of(later.collection))


def test_a_server_that_is_still_opening_says_so(tmp_path: Path) -> None:
    from starlette.testclient import TestClient

    from dipole.serve.app import create_app
    from dipole.serve.settings import Settings

    collection(tmp_path / "c", papers()[:2])
    client = TestClient(create_app(Settings(tmp_path / "c"), load=lambda name: Words()), base_url="http://127.0.0.1")  # not started
    answer = client.get("/", headers=HTML)
    assert answer.status_code == 503 and "Not yet" in answer.text and answer.headers["retry-after"]
    assert int(answer.headers["refresh"]) < 10 and "looks again by itself" in answer.text
    assert "refresh" not in client.get("/nowhere", headers=HTML).headers
    assert "trending" not in answer.text  # a page that knows no collection shows none


def test_what_nobody_foresaw_is_told_in_a_page_without_its_trace(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a secret of the machine")

    monkeypatch.setattr(Collection, "similar", broken)
    answer = client.get("/item/p01")
    assert answer.status_code == 500 and "Something went wrong" in answer.text and "secret" not in answer.text


def test_a_page_that_is_as_it_was_is_not_sent_again(client: httpx.Client) -> None:
    client.get("/help")
    first = client.get("/newest")
    again = client.get("/newest", headers={"if-none-match": first.headers["etag"]})
    assert again.status_code == 304 and again.content == b""
    client.post("/mark", data={"token": token(first.text), "id": "p00", "do": "save"})
    assert client.get("/newest", headers={"if-none-match": first.headers["etag"]}).status_code == 200
