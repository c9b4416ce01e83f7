"""The page in headless Chromium: search, filters, votes, the map, keys, light and dark, and all of it without a script."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("lancedb")
pytest.importorskip("fastapi")

from tests.browser import Browser
from tests.browser import browser as browser
from tests.serve.hands import emulate, find, inaccessible, press, until
from tests.serve.hands import page as page
from tests.serve.site import HOSTILE, collection, papers, served

TITLES = "return [...document.querySelectorAll('a.open')].map(a => a.textContent)"
READY = "return document.getElementById('canvas')?.dataset.ready"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home = tmp_path_factory.mktemp("shelf")
    collection(home / "a_papers", papers())
    collection(home / "hostile", HOSTILE)
    collection(home / "void", [])
    with served(home) as found:
        yield found


def test_searching_as_you_type_shows_the_nearest_and_then_their_sentences(page: Browser, address: str) -> None:
    page.open(f"{address}/")
    press(page, "/")
    assert page.run("return document.activeElement.id") == "q"
    press(page, *"spectral filters of graphs")
    page.wait("return document.querySelectorAll('mark.near').length > 3")
    assert "pectral filters" in page.run(TITLES)[0]
    assert page.run("return document.activeElement.id") == "q"  # the cursor stays where it was
    assert page.run("return location.pathname + location.search") == "/find?q=spectral+filters+of+graphs"
    assert page.run("return document.title").startswith("spectral filters of graphs")
    assert "nearest in meaning" in page.run("return document.getElementById('status').textContent")
    before = page.run(TITLES)
    page.run("document.getElementById('q').select()")
    press(page, *"prosody")
    page.wait("return document.title.startsWith('prosody')")
    page.wait("return document.querySelectorAll('mark.near').length > 3")
    assert "rosody" in page.run(TITLES)[0] and page.run(TITLES) != before
    assert page.complaints() == []
    page.driver.back()  # to the list, not to every letter
    page.wait("return location.pathname === '/' && document.querySelector('h1').textContent === 'Latest'")


def test_an_older_question_never_overtakes_a_newer_one(page: Browser, address: str) -> None:
    page.open(f"{address}/find?q=prosody")
    page.run(
        """const plain = window.fetch; window.asked = [];
        window.fetch = (url, how) => {  // answers to shorter questions take longer, and do not heed that they were ended
          const q = new URL(url).searchParams.get('q') || ''; window.asked.push(q);
          return new Promise(r => setTimeout(r, q === 'speech' ? 50 : 900)).then(() => plain(url, { headers: how.headers }));
        };
        const field = document.getElementById('q');
        const type = text => { field.value = text; field.dispatchEvent(new Event('input', { bubbles: true })); };
        type('vision'); setTimeout(() => type('speech'), 300);"""
    )
    page.wait("return document.title.startsWith('speech')")
    page.wait("return new Promise(r => setTimeout(() => r(true), 1200))")
    assert page.run("return document.title").startswith("speech")
    assert page.run("return window.asked.slice(0, 2)") == ["vision", "speech"]


def test_filters_apply_as_they_are_set(page: Browser, address: str) -> None:
    page.open(f"{address}/find?q=encoders")
    find(page, "input[name=tag][value=speech]").click()
    page.wait("return new URLSearchParams(location.search).get('tag') === 'speech'")
    tags = "return [...document.querySelectorAll('.row')].every(r => r.querySelector('.tags').textContent.includes('speech'))"
    page.wait(tags)
    assert find(page, "input[name=tag][value=speech]").is_selected()
    page.run("document.querySelector('input[value=words]').click()")
    page.wait("return document.querySelector('.empty')?.textContent.includes('has these words')")
    assert page.run("return document.getElementById('status').textContent").startswith("Nothing passes")
    assert find(page, "[data-follow=clear] a").is_displayed()
    page.run("document.querySelector('.narrow-down select').value = 'venue=ACL'; document.querySelector('.narrow-down').requestSubmit()")
    page.wait("return new URLSearchParams(location.search).get('field') === 'venue=ACL'")
    find(page, ".actions a").click()
    page.wait("return !location.search.includes('tag')")
    assert page.complaints() == []


def test_votes_and_saved_are_there_after_loading_again(page: Browser, address: str) -> None:
    page.open(f"{address}/item/p31")
    before = int(find(page, ".vote .count").text)
    find(page, ".vote").click()
    page.wait(f"return document.querySelector('.vote .count').textContent === '{before + 1}'")
    assert page.run("return document.querySelector('.vote').getAttribute('aria-label')").endswith(f"{before + 1} so far")
    assert page.run("return document.activeElement.className") == "vote"
    page.run("document.querySelector('button[value=save]').click()")
    page.wait("return document.querySelector('button[value=unsave]')?.textContent === 'Saved'")
    page.open(f"{address}/saved")
    assert page.run(TITLES) == [papers()[31].title]
    page.open(f"{address}/item/p31")
    assert find(page, ".vote").get_attribute("aria-pressed") == "true"
    find(page, ".vote").click()
    page.wait(f"return document.querySelector('.vote .count').textContent === '{before}'")
    assert page.complaints() == []


def test_what_the_server_refuses_is_told(page: Browser, address: str) -> None:
    page.open(f"{address}/item/p33")
    before = find(page, ".vote .count").text
    page.run("window.fetch = () => Promise.reject(new TypeError('no network'))")
    find(page, ".vote").click()
    page.wait("return document.querySelector('.toast')?.textContent.includes('cannot be reached')")
    assert find(page, ".vote .count").text == before and find(page, ".vote").get_attribute("aria-pressed") == "false"
    page.open(f"{address}/item/p33")
    page.driver.delete_cookie("dipole_visitor")
    find(page, ".vote").click()  # refused without the cookie: the page is loaded anew, with another one
    page.wait("return document.cookie !== null && performance.getEntriesByType('navigation')[0].type === 'reload'")


def test_keys_move_open_vote_save_and_explain_themselves(page: Browser, address: str) -> None:
    page.open(f"{address}/newest")
    press(page, "j", "j", "k", "j")
    assert page.run("return document.activeElement.id") == "item-2"
    title = page.run(TITLES)[1]
    press(page, "v")
    page.wait("return document.querySelector('#item-2 .vote').getAttribute('aria-pressed') === 'true'")
    press(page, "s")
    page.wait("return document.querySelector('#item-2 button[value=unsave]')")
    press(page, "r")
    page.wait("return document.querySelector('#item-2').classList.contains('seen')")
    press(page, "v")
    page.wait("return document.querySelector('#item-2 .vote').getAttribute('aria-pressed') === 'false'")
    press(page, "?")
    assert page.run("return document.getElementById('keys').open")
    press(page, "j")  # not while it is open
    page.run("document.getElementById('keys').close()")
    press(page, "/")
    press(page, "j")
    assert find(page, "#q").get_attribute("value") == "j"
    page.open(f"{address}/newest")
    press(page, "j", "j", "o")
    page.wait("return location.pathname.startsWith('/item/')")
    assert find(page, "h1").text == title
    press(page, "m")
    page.wait("return location.pathname === '/like'")
    assert "Nearest in meaning to " + title in page.run("return document.querySelector('.lead').textContent")
    assert page.complaints() == []


def test_more_like_this_leads_from_one_to_the_next(page: Browser, address: str) -> None:
    page.open(f"{address}/find?q=video+frames")
    title = page.run(TITLES)[0]
    find(page, "#item-1 .like").click()
    page.wait("return location.pathname === '/like'")
    assert title not in page.run(TITLES) and len(page.run(TITLES)) >= 10


def test_subscribing_to_what_is_searched_for(page: Browser, address: str) -> None:
    page.open(f"{address}/find?q=video+frames")
    assert find(page, "#mail-query").get_attribute("value") == "video frames"
    page.run("document.getElementById('q').select()")
    page.run("document.getElementById('q').focus()")
    press(page, *"prosody")
    page.wait("return document.getElementById('mail-query').value === 'prosody'")  # it follows, until somebody types there
    find(page, "#mail-address").send_keys("ann@example.org")
    find(page, ".subscribe button").click()
    page.wait("return location.pathname === '/subscribe'")
    assert "One more step" in find(page, "h1").text
    assert page.complaints() == []


def test_the_map_is_drawn_hovered_walked_and_opened(page: Browser, address: str) -> None:
    page.open(f"{address}/map")
    page.wait(READY)
    page.wait("return document.querySelectorAll('#legend li').length >= 3")
    assert page.run(READY) == "60"
    inked = """const c = document.getElementById('canvas'), d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
      const seen = new Set(); for (let i = 0; i < d.length; i += 4) if (d[i + 3] > 150) seen.add(d[i] + ',' + d[i + 1] + ',' + d[i + 2]);
      return seen.size"""
    page.wait(f"return (() => {{ {inked} }})() > 20")
    page.run("document.getElementById('canvas').focus()")
    press(page, "\ue014", "\ue014", "\ue015")  # right, right, down
    said = find(page, "#map-said").text
    assert any(said.startswith(p.title) for p in papers())
    press(page, "+", "+")
    assert find(page, "#map-said").text == said
    for by in ("tag", "date", "region"):
        page.run("const c = document.getElementById('colour'); c.value = arguments[0]; c.dispatchEvent(new Event('change'))", by)
        assert page.run("return document.querySelectorAll('#legend li').length") >= 3
    press(page, "\ue007")  # Enter
    page.wait("return location.pathname === '/item'")
    assert said.startswith(find(page, "h1").text)
    page.open(f"{address}/map")
    page.wait(READY)
    page.run("window.scrollTo(0, 0)")
    from selenium.webdriver import ActionChains

    canvas, hovered = find(page, "#canvas"), ""
    for x in range(-400, 400, 20):
        ActionChains(page.driver, duration=0).move_to_element_with_offset(canvas, x, 0).perform()
        hovered = find(page, "#map-said").text
        if hovered:
            break
    assert hovered
    ActionChains(page.driver).click().perform()
    page.wait("return location.pathname === '/item'")
    assert hovered.startswith(find(page, "h1").text)
    assert page.complaints() == []


def test_light_and_dark_follow_the_system_and_then_the_choice(page: Browser, address: str) -> None:
    paper = "return getComputedStyle(document.body).backgroundColor"
    page.open(f"{address}/")
    light = page.run(paper)
    emulate(page, dark=True)
    dark = page.run(paper)
    assert light != dark
    find(page, ".theme button").click()  # from the system's dark to light
    page.wait("return document.documentElement.dataset.theme === 'light'")
    assert page.run(paper) == light
    page.wait("return performance.getEntriesByName(location.origin + '/theme').length === 1")
    page.open(f"{address}/newest")
    assert page.run(paper) == light
    assert page.complaints() == []


def test_everything_works_without_a_script(page: Browser, address: str) -> None:
    page.open(f"{address}/")
    emulate(page, dark=False, script=False)
    page.driver.get(f"{address}/")
    find(page, "#q").send_keys("late interaction", "\ue007")
    until(page, ">late interaction</h1>")
    assert page.driver.current_url.endswith("/find?q=late+interaction")
    assert find(page, "a.open").text and find(page, "mark.near").text
    find(page, "input[name=tag][value=retrieval]").click()
    find(page, ".actions button").click()
    until(page, 'value="retrieval" checked')
    assert "tag=retrieval" in page.driver.current_url
    count = int(find(page, "#item-1 .vote .count").text)
    find(page, "#item-1 .vote").click()
    until(page, f'<span class="count">{count + 1}</span>')
    assert "tag=retrieval" in page.driver.current_url and page.driver.current_url.endswith("#item-1")
    assert int(find(page, "#item-1 .vote .count").text) == count + 1
    find(page, ".theme button").click()
    until(page, 'data-theme="dark"')
    page.driver.get(f"{address}/map")
    assert find(page, ".regions li a").is_displayed() and not find(page, "#canvas").is_displayed()
    page.driver.get(f"{address}/")
    find(page, "#on").send_keys(papers()[20].date.strftime("%m%d%Y"))  # type: ignore[union-attr]
    find(page, ".jump button").click()
    until(page, f'name="next" value="/day/{papers()[20].date}"')
    assert page.driver.current_url.endswith(f"/day/{papers()[20].date}")


def test_nothing_is_asked_outside_and_hostile_texts_stay_texts(page: Browser, address: str) -> None:
    for path in ("/?collection=hostile", "/find?collection=hostile&q=text", "/map?collection=hostile", "/item?id=..&collection=hostile"):
        page.open(f"{address}{path}")
        if path.startswith("/map"):
            page.wait(READY)
            page.run("document.getElementById('canvas').focus()")
            press(page, "\ue014", "\ue014")
        assert page.run("return document.querySelectorAll('main img, main script, main svg[onload]').length") == 0
        assert [url for url in page.asked_outside() if not url.startswith(address)] == []
        assert page.complaints() == []
    page.open(f"{address}/find?q=<img src=x onerror=alert(1)>&collection=hostile")
    assert page.run("return document.querySelector('h1').textContent") == "<img src=x onerror=alert(1)>"
    assert page.complaints() == []


PAGES = (
    "/",
    "/find?q=node embeddings",
    "/find?q=molecule&how=words",
    "/find?after=x",
    "/item/p07",
    "/like?id=p07",
    "/map",
    "/saved",
    "/week",
    "/help",
    "/nowhere",
    "/trending",
    "/find",
    "/newest?collection=hostile",
    "/item?id=..&collection=hostile",
    "/?collection=void",
)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_accessibility(page: Browser, address: str, dark: bool) -> None:
    emulate(page, dark=dark)
    wrong: dict[str, Any] = {}
    for path in PAGES:
        page.open(f"{address}{path}")
        if path == "/map":
            page.wait(READY)
        if path == "/":
            find(page, ".vote").click()
            page.wait("return document.querySelector('.vote').getAttribute('aria-pressed') === 'true'")
        if found := inaccessible(page):
            wrong[path] = found
    assert wrong == {}, json.dumps(wrong, indent=1)


@pytest.mark.parametrize("path", PAGES)
def test_it_fits_a_telephone(page: Browser, address: str, path: str) -> None:
    telephone = {"width": 320, "height": 780, "deviceScaleFactor": 2, "mobile": True}
    page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", telephone)
    page.open(f"{address}{path}")
    assert page.run("return document.documentElement.scrollWidth") <= 320  # WCAG 2.2, 1.4.10
    small = """return [...document.querySelectorAll('main button, main .quiet, .step a')].filter(b => b.offsetParent)
      .map(b => b.getBoundingClientRect()).filter(r => r.height < 24 || r.width < 24).length"""
    assert page.run(small) == 0  # to be hit with a finger: WCAG 2.2, 2.5.8
