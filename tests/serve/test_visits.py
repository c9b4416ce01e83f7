"""Visits in headless Chromium: there and back again, after the session has ended, and to texts that nobody would want on a page."""

from __future__ import annotations

import datetime
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("lancedb")
pytest.importorskip("fastapi")

from dipole.search.documents import Document
from tests.browser import Browser
from tests.browser import browser as browser
from tests.serve.hands import emulate, find, inaccessible, press
from tests.serve.hands import page as page
from tests.serve.site import TODAY, collection, papers, served

KEY = "correct-horse-battery"
TAB, ENTER, LEFT, RIGHT = "\ue004", "\ue007", "\ue012", "\ue014"
ARABIC = "تعلم التمثيلات المتباينة: دراسة مقارنة (2026)"
AWKWARD = (
    Document(
        "long",
        "One sentence. " * 400,
        title="A title without an end " * 450,
        authors=tuple(f"Author Number{i} of many" for i in range(200)),
        date=TODAY,
        votes=12_345_678,
        tags=tuple(f"tag-{i}" for i in range(60)),
    ),
    Document(
        "unbroken", "x" * 10_000, {"note": "n" * 500}, title="W" * 10_000, authors=("A" * 300,), date=TODAY, votes=1, tags=("t" * 200,)
    ),
    Document(
        "arabic", "هذه الورقة تدرس التعلم. النتائج جيدة.", title=ARABIC, authors=("محمد علي", "Ada Lovelace"), date=TODAY, tags=("العربية",)
    ),
    Document(
        "turned", "\u202eA text that turns round. And more.", title="\u202eTurned", authors=("\u202eBob",), date=TODAY, tags=("\u202ex",)
    ),
    Document("blank", "What stands here is its title", title="  ", date=TODAY - datetime.timedelta(days=400)),
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("visits")
    collection(folder / "a_papers", papers())
    collection(folder / "awkward", AWKWARD)
    same = [Document(f"same{i}", "one text for all of them", title=f"Copy{i} of it") for i in range(10)]
    collection(folder / "same", [*same, Document("o0", "something else", title="Other0"), Document("o1", "a third", title="Other1")])
    return folder


@pytest.fixture(scope="module")
def address(home: Path) -> Iterator[str]:
    with served(home) as found:
        yield found


def loaded_again(page: Browser) -> bool:
    return bool(page.run("return performance.getEntriesByType('navigation')[0].type === 'reload' || !window.here"))


def test_a_link_within_a_page_moves_the_focus_and_loads_nothing(page: Browser, address: str) -> None:
    page.open(f"{address}/trending")
    page.run("window.here = true")
    press(page, TAB, ENTER)  # skip to the content
    page.wait("return location.hash === '#main' && document.activeElement.id === 'main'")
    page.driver.back()
    page.wait("return location.hash === ''")
    page.wait("return new Promise(done => setTimeout(() => done(true), 300))")
    assert not loaded_again(page)
    page.open(f"{address}/find?q=prosody", width=600)
    page.run("window.here = true")
    find(page, ".to-filters").click()
    page.wait("return location.hash === '#narrow' && scrollY > 300")
    page.wait("return new Promise(done => setTimeout(() => done(true), 300))")
    assert not loaded_again(page)


def test_back_and_forward_go_from_question_to_question(page: Browser, address: str) -> None:
    page.open(f"{address}/trending")
    press(page, "/", *"spectral filters")
    wait_for(page, "spectral filters")
    find(page, "#item-2 a.open").click()
    page.wait("return location.pathname.startsWith('/item/')")
    page.driver.back()
    page.wait("return location.search === '?q=spectral+filters' && document.querySelector('h1')?.textContent === 'spectral filters'")
    press(page, "/", *"prosody")
    wait_for(page, "prosody")
    page.driver.back()  # to the question before, not to the list from which it was asked
    page.wait("return document.querySelector('h1')?.textContent === 'spectral filters'")
    assert find(page, "#q").get_attribute("value") == "spectral filters"
    page.driver.back()
    page.wait("return location.pathname === '/trending' && document.querySelector('h1')?.textContent === 'Trending'")
    assert find(page, "#q").get_attribute("value") == ""
    page.driver.forward()
    page.driver.forward()
    page.wait("return document.querySelector('h1')?.textContent === 'prosody'")
    assert find(page, "#q").get_attribute("value") == "prosody" and page.complaints() == []


def wait_for(page: Browser, question: str) -> None:
    page.wait(f"return document.title.startsWith('{question}') && document.querySelectorAll('mark.near').length > 3")


def test_going_back_shows_what_was_marked_meanwhile(page: Browser, address: str) -> None:
    page.open(f"{address}/newest")
    before = int(find(page, "#item-1 .vote .count").text)
    find(page, "#item-1 a.open").click()
    page.wait("return location.pathname.startsWith('/item/')")
    find(page, ".vote").click()
    page.wait(f"return document.querySelector('.vote .count').textContent === '{before + 1}'")
    page.run("document.querySelector('button[value=read]').click()")
    page.wait("return document.querySelector('button[value=unread]')")
    page.driver.back()
    page.wait("return location.pathname === '/newest'")
    page.wait(f"return document.querySelector('#item-1 .vote .count')?.textContent === '{before + 1}'")
    assert "seen" in find(page, "#item-1").get_attribute("class").split()
    find(page, "#item-1 .vote").click()
    page.wait(f"return document.querySelector('#item-1 .vote .count').textContent === '{before}'")


def test_an_address_that_others_reach_asks_for_the_key_and_then_for_nothing_more(page: Browser, home: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        try:
            one.connect(("192.0.2.1", 9))  # sends nothing; tells this machine's own address
            host = one.getsockname()[0]
        except OSError:
            host = "127.0.0.1"
    if host.startswith("127."):
        pytest.skip("this machine has no address but its own loopback")
    with served(home, host=host, api_key=KEY) as address:
        page.open(f"{address}/find?q=prosody&tag=speech")
        assert page.run("return location.pathname") == "/login" and "prosody" not in find(page, "main").text
        assert page.run("return document.activeElement.id") == "key"
        press(page, "not the key at all", ENTER)
        page.wait("return document.querySelector('.wrong')?.textContent === 'That is not the key.'")
        assert find(page, "#key").get_attribute("aria-invalid") == "true"
        assert find(page, "#" + find(page, "#key").get_attribute("aria-describedby")).text == "That is not the key."
        for dark in (True, False):
            emulate(page, dark=dark)
            assert inaccessible(page) == []
        find(page, "#key").send_keys(KEY, ENTER)
        page.wait("return location.pathname === '/find' && location.search === '?q=prosody&tag=speech'")
        assert inaccessible(page) == []  # with "sign out"
        count = int(find(page, ".vote .count").text)
        find(page, ".vote").click()
        page.wait(f"return document.querySelector('.vote .count').textContent === '{count + 1}'")
        press(page, "/", *"acoustic units")
        wait_for(page, "acoustic units")
        page.open(f"{address}/map")
        page.wait("return document.getElementById('canvas')?.dataset.ready === '60'")

        page.open(f"{address}/newest")
        page.driver.delete_cookie("dipole_session")  # as after 30 days
        find(page, ".vote").click()
        page.wait("return location.pathname === '/login'")
        press(page, KEY, ENTER)
        page.wait("return location.pathname === '/newest'")
        page.driver.delete_cookie("dipole_session")
        press(page, "/", *"prosody")
        page.wait("return location.pathname === '/login'")
        press(page, KEY, ENTER)
        page.wait("return location.pathname === '/find' && document.querySelector('a.open')")
        assert "quick" not in page.run("return location.search")

        find(page, ".foot form button").click()  # sign out
        page.wait("return location.pathname === '/login'")
        page.driver.get(f"{address}/newest")
        assert page.run("return location.pathname") == "/login"


def test_what_answers_another_question_says_so_while_the_answer_is_awaited(page: Browser, address: str) -> None:
    page.open(f"{address}/find?q=prosody")
    page.run(
        """const plain = window.fetch;
        window.fetch = (...asked) => new Promise(done => { window.answer = done; }).then(() => plain(...asked));"""
    )
    press(page, "/", *"vision")
    page.wait("return window.answer && document.querySelector('[data-live]').getAttribute('aria-busy') === 'true'")
    page.wait("return Number(getComputedStyle(document.querySelector('[data-live]')).opacity) < 0.6")
    page.run("window.answer()")
    page.wait("return document.title.startsWith('vision') && !document.querySelector('[aria-busy]')")
    page.run("window.fetch = () => Promise.reject(new TypeError('no network'))")
    press(page, " and")
    page.wait("return document.querySelector('.toast')?.textContent.includes('cannot be reached')")
    assert page.run("return document.querySelector('[aria-busy]')") is None


def test_in_the_visitors_own_colours_nothing_is_told_by_a_background_alone(page: Browser, address: str) -> None:
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "forced-colors", "value": "active"}]})
    page.open(f"{address}/newest")
    line = "return getComputedStyle(document.querySelector(arguments[0])).borderBottomColor"
    paper = page.run("return getComputedStyle(document.body).backgroundColor")
    assert page.run(line, ".tabs a:not([aria-current])") == paper != page.run(line, ".tabs a[aria-current]")
    press(page, "j")
    assert page.run("return getComputedStyle(document.activeElement).outlineStyle") == "solid"
    ground = "return getComputedStyle(document.querySelector(arguments[0])).backgroundColor"
    press(page, "v")
    page.wait("return document.querySelector('#item-1 .vote').getAttribute('aria-pressed') === 'true'")
    assert page.run(ground, "#item-1 .vote") != page.run(ground, "#item-2 .vote")
    press(page, "v")
    page.wait("return document.querySelector('#item-1 .vote').getAttribute('aria-pressed') === 'false'")
    page.open(f"{address}/find?q=prosody")
    assert page.run(ground, ".how input:checked + span") != page.run(ground, ".how input:not(:checked) + span")


def test_a_map_by_umap_is_waited_for_and_walked(page: Browser, tmp_path: Path) -> None:
    pytest.importorskip("umap", reason="the extra map is not installed")
    collection(tmp_path / "papers", papers())
    with served(tmp_path, map="umap") as address:
        page.open(f"{address}/map")  # which takes longer to draw than this page waits
        page.wait("return document.getElementById('canvas')?.dataset.ready === '60'", 120)
        page.wait("return document.getElementById('map-about').textContent.includes('UMAP') && document.querySelector('.region a')")
        page.run("document.getElementById('canvas').focus()")
        press(page, RIGHT, RIGHT)
        said = find(page, "#map-said").text
        press(page, ENTER)
        page.wait("return location.pathname === '/item'")
        assert said.startswith(find(page, "h1").text) and page.complaints() == []


def test_arrows_on_the_map_reach_documents_that_lie_on_one_another(page: Browser, address: str) -> None:
    page.open(f"{address}/map?collection=same")
    page.wait("return document.getElementById('canvas')?.dataset.ready === '12'")
    page.run("document.getElementById('canvas').focus()")
    told = "return document.getElementById('map-said').textContent"
    seen = set()
    for key in (LEFT, *[RIGHT] * 12, *[LEFT] * 12):
        press(page, key)
        seen.add(page.run(told))
    assert {text.split()[0] for text in seen} >= {f"Copy{i}" for i in range(10)}  # which lie on one another
    press(page, ENTER)
    page.wait("return location.pathname === '/item'")
    assert page.complaints() == []


@pytest.mark.parametrize("width", [1280, 360])
def test_awkward_texts_stay_within_their_bounds(page: Browser, address: str, width: int) -> None:
    telephone = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
    page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", telephone)
    wide = """const limit = document.documentElement.clientWidth;
      return [...document.querySelectorAll('main *, header *')].filter(e => !e.closest('svg, .unseen, .tabs ul, .facts'))
        .filter(e => e.getBoundingClientRect().right > limit + 1 || e.getBoundingClientRect().left < -1).map(e => e.outerHTML)"""
    for path in ("/newest", "/item/long", "/item/unbroken", "/find?q=" + "W" * 1900, "/find?tag=" + "t" * 200, "/like?id=unbroken", "/map"):
        page.open(f"{address}{path}{'&' if '?' in path else '?'}collection=awkward")
        assert page.run("return document.documentElement.scrollWidth") <= width, path
        assert page.run(wide) == [], path
        tall = page.run("return Math.max(0, ...[...document.querySelectorAll('h1, h3, .compact a, .region a')].map(e => e.offsetHeight))")
        assert tall < 800, path  # a heading leaves room for what it is the heading of
        spilt = "return [...document.querySelectorAll('.vote')].filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.innerText)"
        assert page.run(spilt) == [], path


def test_texts_run_the_way_they_are_written_and_turn_nothing_else(page: Browser, address: str) -> None:
    page.open(f"{address}/item/arabic?collection=awkward")
    way = "return getComputedStyle(document.querySelector(arguments[0])).direction"
    assert [page.run(way, one) for one in ("h1", ".prose p", ".tags a", ".facts .who a")] == ["rtl"] * 4
    assert page.run(way, ".facts") == "ltr"
    page.open(f"{address}/newest?collection=awkward")
    ways = """const way = row => getComputedStyle(row.querySelector('h3')).direction;
      return Object.fromEntries([...document.querySelectorAll('.row')].map(row => [row.querySelector('[name=id]').value, way(row)]))"""
    assert page.run(ways) == {"long": "ltr", "unbroken": "ltr", "arabic": "rtl", "turned": "ltr", "blank": "ltr"}
    alone = """return [...document.querySelectorAll('.row h3, .text, .tags a, .who a')]
      .filter(e => e.textContent.startsWith('\\u202e')).map(e => getComputedStyle(e).unicodeBidi)"""
    found = page.run(alone)
    assert len(found) == 4 and all("isolate" in one or one == "plaintext" for one in found)


def test_what_people_see_of_awkward_documents(page: Browser, address: str) -> None:
    page.open(f"{address}/newest?collection=awkward")
    rows = {
        row.find_element("css selector", "[name=id]").get_attribute("value"): row
        for row in page.driver.find_elements("css selector", ".row")
    }
    assert rows["blank"].find_element("css selector", "a.open").text == "What stands here is its title"  # a link to click on
    assert rows["long"].find_element("css selector", ".count").text == "12.3M"
    assert "12,345,678 so far" in rows["long"].find_element("css selector", ".vote").get_attribute("aria-label")
    assert find(page, ".days li:last-child a").text.endswith(str(AWKWARD[-1].date.year))  # type: ignore[union-attr]
    page.open(f"{address}/item/long?collection=awkward")
    assert find(page, "h1").text.endswith("…") and find(page, ".about dd").text == AWKWARD[0].title.strip()
    page.open(f"{address}/find?collection=awkward&q=" + "a sentence of several words " * 70)
    assert find(page, "h1").text.endswith(" …") and len(page.driver.title) < 160 and find(page, "a.open")
    assert len(find(page, "#q").get_attribute("value")) > 1900
    assert len(find(page, "#mail-query").get_attribute("value")) == 500  # as many as a subscription may have
