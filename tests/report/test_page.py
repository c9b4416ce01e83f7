"""The page in a browser: everything is drawn, nothing is asked of the network, nothing in a row can become markup."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

pytest.importorskip("jinja2")
pytest.importorskip("plotly")

from dipole.report.diagnose import diagnose, diagnose_files
from dipole.report.drawing import Picture, scatter
from dipole.report.page import render
from dipole.report.verdicts import Verdict
from tests.browser import Browser
from tests.report.conftest import Table, rows_of, spread

DRAWN = "return [...document.querySelectorAll('.plot')].every(p => p.querySelector('svg .trace, svg .bars .point'))"
MARKS = """return [...document.querySelectorAll('.plot')].map(
  p => [p.id, p.querySelectorAll('svg .point, svg path.js-line, svg .scatterlayer .trace').length])"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    x = spread(150, 24)
    rows = rows_of(150, negative=[f"{(i + 1) % 150} other" for i in range(150)], label=["a" if i % 2 else "b" for i in range(150)])
    rows[0]["anchor"] = '0 <img src=x onerror="document.title=1">'
    rows[1]["anchor"] = "1 </script><script>document.title='broken'</script>"
    rows[2]["anchor"] = '2 <a href="https://example.org/">link</a> {{ 7 * 7 }}'
    report = diagnose(Table(x, x + 0.4 * spread(150, 24, 1)), rows, name="<b>model</b>", data="pairs & more.jsonl")
    path = tmp_path_factory.mktemp("page") / "report.html"
    report.write_html(path)
    return path


def test_all_pictures_are_drawn_offline_without_complaint(browser: Browser, page: Path, tmp_path: Path) -> None:
    shown = browser.open(page)
    shown.wait(DRAWN)
    marks = dict(shown.run(MARKS))
    assert set(marks) == {f"plot-{key}" for key in ("map", "similarities", "spectrum", "hubs", "temperatures", "gradient")}
    assert min(marks.values()) >= 2 and marks["plot-map"] >= 300  # a point each for 150 anchors and 150 positives
    assert shown.complaints() == []
    assert shown.asked_outside() == []
    picture = shown.screenshot(tmp_path / "report.png")
    image = pytest.importorskip("PIL.Image").open(picture)
    assert image.size[1] > 2000
    assert len(image.convert("RGB").resize((160, 400)).getcolors(64_000)) > 100  # not one flat sheet


def test_no_address_outside_and_a_policy_that_forbids_any(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "default-src 'none'" in text and "connect-src" not in text
    scripts = re.findall(r"<script[^>]*>.*?</script>", text, flags=re.DOTALL)
    assert len(scripts) == 3  # Plotly, the pictures' data, what draws them
    outside = text
    for script in scripts:
        outside = outside.replace(script, "")
    assert not re.search(r"https?:|//[a-z]", outside.replace("<!doctype", ""))
    assert not re.search(r"https?:", scripts[1].replace("https://example.org/", "")) and not re.search(r"https?:", scripts[2])
    assert text.count("Plotly, Inc.") >= 1


def test_rows_cannot_become_markup(browser: Browser, page: Path) -> None:
    shown = browser.open(page)
    shown.wait(DRAWN)
    assert shown.run("return document.title") == "<b>model</b>: dipole diagnose"
    assert shown.run("return document.querySelector('h1').textContent") == "<b>model</b>"
    for curve in (1, 2):
        shown.run("Plotly.Fx.hover('plot-map', [{curveNumber: arguments[0], pointNumber: 0}])", curve)
    assert shown.run("return document.querySelectorAll('.hoverlayer img, .hoverlayer script, .hoverlayer a').length") == 0
    assert shown.run("return document.querySelectorAll('img').length") == 0
    texts = shown.run("return document.querySelector('#plot-map').data.flatMap(d => d.text || [])")
    assert any("&lt;img" in text for text in texts) and not any("<" in text for text in texts)


HOSTILE = "</script><script>window.broken = 1</script><!--<script>"


def hostile_page() -> str:
    """A page whose every text, in markup and in the pictures' data, tries to leave its place."""
    picture = Picture("map", HOSTILE, HOSTILE, [scatter([0, 1], [0, 1], HOSTILE, text=[HOSTILE, "\u2028"])], {"title": {"text": HOSTILE}})
    verdict = Verdict(HOSTILE, "ill", 1.0, HOSTILE, HOSTILE, HOSTILE, HOSTILE)
    return render({"model": HOSTILE, HOSTILE: HOSTILE}, [verdict], [(HOSTILE, HOSTILE, [picture])], [HOSTILE])


def test_no_text_can_end_the_script_it_lies_in() -> None:
    text = hostile_page()
    scripts = re.findall(r"<script[^>]*>(.*?)</script>", text, flags=re.DOTALL)
    assert len(scripts) == 3 and "window.broken" not in scripts[0] + scripts[2]
    assert "<" not in scripts[1] and "\\u003c/script>" in scripts[1]
    assert json.loads(scripts[1])["map"]["data"][0]["text"] == [HOSTILE, "\u2028"]  # and yet nothing is lost
    outside = re.sub(r"<script[^>]*>.*?</script>", "", text, flags=re.DOTALL)
    assert HOSTILE not in outside and "<!--" not in outside and outside.count("&lt;/script&gt;") >= 10


def test_hostile_texts_stay_texts_in_a_browser(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(hostile_page(), encoding="utf-8")
    shown = browser.open(tmp_path / "page.html")
    shown.wait(DRAWN)
    assert shown.run("return window.broken === undefined")
    assert shown.run("return document.querySelector('h1').textContent") == HOSTILE
    assert shown.run("return document.querySelector('#plot-map').data[0].name") == HOSTILE
    assert shown.run("return document.scripts.length") == 3 and shown.complaints() == []


def test_cards_tell_status_in_words_and_open(browser: Browser, page: Path) -> None:
    shown = browser.open(page)
    cards = shown.run(
        "return [...document.querySelectorAll('.verdicts li')].map(c => [c.className, c.querySelector('.state').textContent])"
    )
    assert len(cards) >= 10
    assert all(text.startswith(status) and "healthy: " in text for status, text in cards)
    order = ("ill", "watch", "healthy", "unknown")
    assert [order.index(status) for status, _ in cards] == sorted(order.index(status) for status, _ in cards)
    shown.run("document.querySelector('details').open = true")
    assert shown.run("return document.querySelector('details').innerText.length") > 40


def test_it_fits_a_narrow_screen(browser: Browser, page: Path) -> None:
    shown = browser.open(page, width=500, height=900)
    shown.wait(DRAWN)
    assert shown.run("return document.documentElement.scrollWidth <= window.innerWidth")


def test_accessibility(browser: Browser, page: Path) -> None:
    axe = pytest.importorskip("axe_selenium_python")
    shown = browser.open(page)
    shown.wait(DRAWN)
    check = axe.Axe(shown.driver)
    check.inject()
    found = [v for v in check.run()["violations"] if v["impact"] in ("serious", "critical")]
    assert found == [], [(v["id"], [n["html"][:120] for n in v["nodes"][:3]]) for v in found]


def test_the_page_of_a_run(browser: Browser, run_folder: Path, tmp_path: Path) -> None:
    diagnose_files(str(run_folder)).write_html(tmp_path / "run.html")
    shown = browser.open(tmp_path / "run.html")
    shown.wait(DRAWN)
    drawn = {key for key, count in shown.run(MARKS) if count}
    assert {"plot-loss", "plot-rank", "plot-plane", "plot-grad-norm", "plot-learning-rate", "plot-mean-cosine"} == drawn
    names = shown.run("return document.querySelector('#plot-loss').data.map(d => d.name)")
    assert names == ["loss", "loss, smoothed", "log N: guessing"]
    assert shown.complaints() == [] and shown.asked_outside() == []


def test_the_page_of_a_collapsed_model(browser: Browser, tmp_path: Path) -> None:
    diagnose(Table(torch.ones(60, 8)), rows_of(60)).write_html(tmp_path / "point.html")
    shown = browser.open(tmp_path / "point.html")
    shown.wait(DRAWN)
    assert shown.complaints() == []
    assert "isotropy is undefined here" in shown.run("return document.body.innerText")
