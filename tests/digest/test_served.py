"""Subscribing on the served page, with a real mail server: two steps, the same answer to everybody, one way out; and in a browser."""

from __future__ import annotations

import html
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from dipole.cli.main import main
from dipole.digest import spool
from dipole.digest.office import Office
from dipole.digest.signup import A_CLIENT
from dipole.digest.store import ACTIVE
from dipole.search.collection import Collection
from tests.browser import Browser
from tests.digest.servers import OLD, Inbox, Running, Topics, about, start
from tests.ports import free_port
from tests.serve.site import served

pytest.importorskip("lancedb")
httpx = pytest.importorskip("httpx")
pytest.importorskip("uvicorn")


SITE = "https://papers.example.org"


class Proxy(httpx.HTTPTransport):
    """The proxy that people come through by https; it speaks to the server by http."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self.to = httpx.URL(address)

    def handle_request(self, request: Any) -> Any:
        url = request.url.copy_with(scheme="http", host=self.to.host, port=self.to.port)
        return super().handle_request(
            httpx.Request(request.method, url, headers=request.headers, stream=request.stream, extensions=request.extensions)
        )


class Site:
    """A served collection, and somebody with a browser that keeps cookies."""

    def __init__(self, folder: Path, address: str, server: Running) -> None:
        self.folder, self.address, self.inbox = folder, address, server.inbox
        self.office = Office.open(folder)
        self.client = httpx.Client(base_url=SITE, headers={"Accept": "text/html"}, timeout=60, transport=Proxy(address))

    def __enter__(self) -> Site:
        return self

    def __exit__(self, *error: object) -> None:
        self.client.close()

    def token(self) -> str:
        return re.search(r'name="token" value="([^"]+)"', self.client.get("/newest").text)[1]

    def subscribe(self, address: str, **fields: str) -> Any:
        return self.client.post("/subscribe", data={"token": self.token(), "address": address, "query": "", "every": "daily", **fields})

    def mails(self, count: int) -> list[Any]:
        """What the mail server took, once it is so many."""
        end = time.monotonic() + 30
        while len(self.inbox.taken) < count:
            assert time.monotonic() < end, f"{len(self.inbox.taken)} mails came, not {count}"
            time.sleep(0.02)
        return self.inbox.taken


def link(message: Any, path: str) -> str:
    """The link in a mail's text to this path of the site."""
    return next(word for word in message.get_body(("plain",)).get_content().split() if f"/{path}/" in word)


def said(answer: Any) -> str:
    """The heading and the text of a page."""
    found = re.search(r"<h1>(.*?)</h1>\s*<p class=\"lead\">(.*?)</p>", answer.text, re.DOTALL)
    return html.unescape(f"{found[1]}. {found[2]}")


@pytest.fixture
def site(folder: Path, mail_server: Running, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("DIPOLE_MAIL_FROM", "Papers <papers@example.org>")
    monkeypatch.setenv("DIPOLE_SMTP_HOST", "127.0.0.1")
    monkeypatch.setenv("DIPOLE_SMTP_PORT", str(mail_server.port))
    monkeypatch.setenv("DIPOLE_SMTP_SECURITY", "none")
    monkeypatch.setenv("DIPOLE_BASE_URL", SITE)
    with served(folder, Topics(), base_url=SITE) as address, Site(folder, address, mail_server) as made:
        yield made


def here(site: Site, address: str) -> str:
    """A link of a mail, at the server under test."""
    assert address.startswith(f"{SITE}/")
    return urlsplit(address).path


def test_the_whole_way_from_the_form_to_the_end(site: Site) -> None:
    answer = site.subscribe("Ada@Example.org", query="cats", every="weekly")
    assert answer.status_code == 200 and "is on its way" in said(answer)
    [(to, asked)] = site.mails(1)
    assert to == "Ada@example.org"
    confirm = here(site, link(asked, "confirm"))
    for _ in range(3):  # a scanner that opens links starts nothing
        assert "weekly digest of what is new near “cats”" in said(httpx.get(site.address + confirm))
        httpx.head(site.address + confirm)
    assert site.office.store.subscriptions(ACTIVE) == []
    assert main(["digest", str(site.folder)]) == 0 and len(site.inbox.taken) == 1
    assert "You are subscribed" in said(httpx.post(site.address + confirm))
    assert "You are subscribed" in said(httpx.post(site.address + confirm))
    Collection.open(site.folder).append(about("cats", 0, 1), Topics())
    assert main(["digest", str(site.folder)]) == 0
    to, digest = site.mails(2)[1]
    assert to == "Ada@example.org" and "On cats, part 0" in digest.get_body(("plain",)).get_content()
    leave = here(site, digest["List-Unsubscribe"].strip("<>"))
    for _ in range(2):
        assert "Ada@example.org, ends" in said(httpx.get(site.address + leave)) and site.office.store.subscriptions()
    # One click: no cookie, no page before, as a mail reader's server does it; either kind of body.
    one_click = httpx.post(site.address + leave, files={"List-Unsubscribe": (None, "One-Click")})
    assert one_click.status_code == 200 and site.office.store.subscriptions() == []
    again = httpx.post(site.address + leave, data={"List-Unsubscribe": "One-Click"})
    assert again.status_code == 200 and "You are unsubscribed" in said(again) == said(httpx.get(site.address + leave))
    assert httpx.post(site.address + confirm).status_code == 410  # the old link starts nothing again


def test_links_in_a_digest_lead_somewhere(site: Site) -> None:
    odd = about("cats", 0, 1)[0]
    Collection.open(site.folder).append([odd, *(type(odd)(id, f"cats, called {id}") for id in ("a/b ?&#", "..", "ü"))], Topics())
    office = site.office
    office.desk.admit("ada@example.org", "cats", "daily", "", lambda name: 0)
    office.desk.admit("ada@example.org", "", "daily", "", lambda name: 0)
    assert main(["digest", str(site.folder)]) == 0
    links = set()
    for _, message in site.mails(2):
        links |= {word for word in message.get_body(("plain",)).get_content().split() if word.startswith(f"{SITE}/")}
    assert len(links) > 10 and any("/find?q=cats" in one for one in links) and any(one.endswith("/trending") for one in links)
    time.sleep(1.5)  # the server takes up the new commit
    for one in links:
        assert site.client.get(one.removeprefix(SITE)).status_code == 200, one


def test_everybody_gets_the_same_answer(site: Site) -> None:
    """A stranger, somebody subscribed, somebody asking too often: pages are equal to the byte, but for the form's token."""
    site.office.desk.admit("known@example.org", "", "daily", "", lambda name: 1)
    answers = [site.subscribe(address) for address in ("known@example.org", "new@example.org", *["often@example.org"] * 5)]
    assert {answer.status_code for answer in answers} == {200} and len({answer.text for answer in answers}) == 1
    site.mails(1 + 1 + 3)
    to = [to for to, _ in site.inbox.taken]
    assert {name: to.count(f"{name}@example.org") for name in ("known", "new", "often")} == {"known": 1, "new": 1, "often": 3}
    assert "already subscribed" in next(m for t, m in site.inbox.taken if t == "known@example.org")["Subject"]


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({"address": "ada"}, "An e-mail address looks like name@example.org"),
        ({"address": "ada@example.org\r\nBcc: eve@example.org"}, "the @"),
        ({"address": '"><script>alert(1)</script>@example.org'}, "before the @"),
        ({"address": "ada@example.org", "query": "?!"}, "A query needs words"),
        ({"address": "ada@example.org", "query": "x" * 501}, "at most 500"),
        ({"address": "ada@example.org", "every": "hourly"}, "daily or weekly"),
    ],
)
def test_what_cannot_be_is_said_and_can_be_put_right(fields: dict[str, str], rule: str, site: Site) -> None:
    answer = site.subscribe(fields.pop("address"), **fields)
    assert answer.status_code == 422 and rule.lower() in said(answer).lower()
    assert "<script>alert" not in answer.text and 'action="/subscribe"' in answer.text
    assert spool.waiting(site.office.store) == [] and site.inbox.taken == []


def test_forms_of_other_sites_robots_and_floods_come_to_nothing(site: Site) -> None:
    data = {"address": "ada@example.org", "query": "", "every": "daily"}
    assert httpx.post(site.address + "/subscribe", data={**data, "token": site.token()}).status_code == 403  # no cookie
    assert site.client.post("/subscribe", data=data).status_code == 403  # no token
    elsewhere = {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}
    assert site.client.post("/subscribe", data={**data, "token": site.token()}, headers=elsewhere).status_code == 403
    assert site.subscribe("ada@example.org", fax="555").text == site.subscribe("bob@example.org").text  # the trap looks like success
    assert [to for to, _ in site.mails(1)] == ["bob@example.org"]
    codes = [site.subscribe(f"a{number}@example.org").status_code for number in range(A_CLIENT + 2)]
    assert codes == [200] * (A_CLIENT - 1) + [429] * 3


def figures(site: Site) -> list[float]:
    """Confirmations sent, rounds that failed, confirmations that wait, and subscriptions that are pending, as /metrics has them."""
    text = site.client.get("/metrics").text
    names = ("confirmations_sent_total", "confirmation_failures_total", "confirmations_waiting", 'subscriptions{state="pending"}')
    return [float(re.search(rf"^dipole_{re.escape(name)} (\S+)$", text, re.MULTILINE)[1]) for name in names]


def until(site: Site, right: Callable[[list[float]], bool]) -> None:
    end = time.monotonic() + 20
    while not right(figures(site)):
        assert time.monotonic() < end, figures(site)
        time.sleep(0.05)


def test_what_the_server_does_with_mail_is_counted(site: Site) -> None:
    assert figures(site) == [0, 0, 0, 0]
    site.subscribe("ada@example.org")
    site.mails(1)
    until(site, lambda now: now == [1, 0, 0, 1])


def test_a_mail_server_that_is_down_is_counted_until_it_is_back(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port, lines = free_port(), ['from = "papers@example.org"', f'base_url = "{SITE}"', "[smtp]", 'host = "127.0.0.1"']
    (folder / "state").mkdir()
    (folder / "state" / "mail.toml").write_text("\n".join([*lines, f"port = {port}", 'security = "none"', "retries = 0"]))
    monkeypatch.setattr("dipole.digest.postman._AGAIN", 0.05)
    down = Running(Inbox(), port, lambda: None)
    with served(folder, Topics(), base_url=SITE) as address, Site(folder, address, down) as site:
        site.subscribe("ada@example.org")
        until(site, lambda now: now[1] >= 2)
        assert [figures(site)[place] for place in (0, 2, 3)] == [0, 1, 1]
        running = start(down.inbox, port)
        until(site, lambda now: [now[0], now[2], now[3]] == [1, 0, 1])
        failures = figures(site)[1]
        time.sleep(0.3)
        assert figures(site)[1] == failures and len(down.inbox.taken) == 1
        running.stop()


@pytest.mark.parametrize("path", ["/confirm/", "/unsubscribe/"])
def test_links_that_were_not_made_here(path: str, site: Site) -> None:
    for token in ("x", "x.y.z", "%00", "..%2f", "ü", "a" * 2000, "IjEi.aaaa"):
        for method in ("GET", "POST"):
            answer = httpx.request(method, f"{site.address}{path}{token}", headers={"Accept": "text/html"})
            assert answer.status_code in (404, 410), (token, answer.status_code)
    answer = httpx.get(f"{site.address}{path}x")
    assert "This link does not work" in said(answer) and answer.headers["Cache-Control"] == "no-store"


def test_without_a_mail_server_the_page_says_when_and_the_command_sends(folder: Path, mail_server: Running, monkeypatch: Any) -> None:
    with served(folder, Topics(), base_url=SITE) as address, Site(folder, address, mail_server) as site:
        assert "comes when this site next sends its digests" in said(site.subscribe("ada@example.org", query="cats"))
    assert len(spool.waiting(site.office.store)) == 1 and mail_server.inbox.taken == []
    for name, value in (("HOST", "127.0.0.1"), ("PORT", str(mail_server.port)), ("SECURITY", "none")):
        monkeypatch.setenv(f"DIPOLE_SMTP_{name}", value)
    monkeypatch.setenv("DIPOLE_MAIL_FROM", "papers@example.org")
    monkeypatch.setenv("DIPOLE_BASE_URL", "http://127.0.0.1:8000")
    assert main(["digest", str(folder)]) == 0 and mail_server.inbox.subjects == ["Confirm your subscription to “cats”"]


def test_with_an_api_key_links_of_mails_work_without_it(folder: Path, mail_server: Running) -> None:
    key = "a-long-enough-key-for-all"
    with served(folder, Topics(), api_key=key) as address:
        office = Office.open(folder)
        one = office.desk.admit("ada@example.org", "", "daily", "", lambda name: 1)
        path = office.links.unsubscribe(one.id)
        assert httpx.get(f"{address}/newest").status_code != 200
        assert httpx.get(address + path).status_code == 200 and httpx.post(address + path).status_code == 200
        assert office.store.subscriptions() == []


def test_several_collections(tmp_path: Path, mail_server: Running, monkeypatch: Any, folder: Path) -> None:
    for name in ("one", "two"):
        Collection.create(tmp_path / "all" / name, OLD, Topics())
    with served(tmp_path / "all", Topics(), base_url=SITE) as address, Site(tmp_path / "all", address, mail_server) as site:
        assert site.client.post("/subscribe?collection=two", data={"token": site.token(), "address": "a@example.org"}).status_code == 200
        assert site.subscribe("b@example.org").status_code == 200
        [first, second] = site.office.store.subscriptions()
        assert (first.collection, second.collection) == ("two", "one")
        token = site.office.links.confirm(first.id, "daily")
        assert "You are subscribed" in said(httpx.post(address + token)) and httpx.post(address + token).status_code == 200


def test_in_a_browser(site: Site, browser: Browser, tmp_path: Path) -> None:
    """Subscribe on the page, follow the mail's link, press the button, and leave; without a complaint of the browser."""
    page = browser.open(f"{site.address}/newest")
    page.run("document.getElementById('mail-address').value = 'ada@example.org'")
    page.run("document.getElementById('mail-query').value = 'cats'")
    assert page.run("const trap = document.getElementById('mail-fax'); return trap.tabIndex === -1 && trap.offsetWidth <= 200")
    page.run("document.querySelector('form[action$=\"/subscribe\"] button').click()")
    page.wait("return document.querySelector('h1').textContent.startsWith('One more step')")
    [(_, asked)] = site.mails(1)
    page.open(site.address + here(site, link(asked, "confirm")))
    assert "cats" in page.run("return document.querySelector('main').textContent")
    page.screenshot(tmp_path / "confirm.png")
    page.run("document.querySelector('main form button').click()")
    page.wait("return document.querySelector('h1').textContent === 'You are subscribed'")
    Collection.open(site.folder).append(about("cats", 0, 2), Topics())
    assert main(["digest", str(site.folder)]) == 0
    _, digest = site.mails(2)[1]
    page.open(site.address + here(site, link(digest, "unsubscribe")))
    page.run("document.querySelector('main form button').click()")
    page.wait("return document.querySelector('h1').textContent === 'You are unsubscribed'")
    assert site.office.store.subscriptions() == [] and page.complaints() == []
