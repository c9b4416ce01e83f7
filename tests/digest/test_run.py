"""A run: what is new and near goes out, once, to whom it is due, whatever dies when."""

from __future__ import annotations

import datetime
import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from email.message import EmailMessage
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from dipole.core.errors import DataError, UsageError
from dipole.digest import arrivals, ledger
from dipole.digest.ledger import BusyError
from dipole.digest.links import Links
from dipole.digest.run import Report, run
from dipole.digest.settings import MailSettings
from dipole.digest.signup import Signup
from dipole.digest.smtp import Mailer, TransportError
from dipole.digest.source import Source
from dipole.digest.store import ACTIVE, SUSPENDED, Store
from dipole.search.collection import Collection
from dipole.search.documents import Document
from tests.digest.servers import OLD, Curt, Running, Topics, about, load
from tests.ports import free_port

pytest.importorskip("lancedb")
KEY = b"0123456789abcdef0123456789abcdef"
MONDAY = datetime.date(2026, 11, 23)


class Desk:
    """A collection in a folder, people who subscribe to it, and days that pass."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.collection = Collection.create(folder, OLD, Topics())
        self.store, self.links = Store(folder / "state"), Links(KEY, "https://papers.example.org")
        self.settings = MailSettings(
            "Papers <papers@example.org>", "https://papers.example.org", "127.0.0.1", port, "none", pause=0.001, share=0.1
        ).checked()
        self.votes: dict[str, int] = {}

    def subscribe(self, address: str, query: str = "", every: str = "daily") -> str:
        return Signup(self.store, self.links).admit(address, query, every, "", lambda name: arrivals.look(self.store, name, self.open())).id

    def open(self) -> Collection:
        return Collection.open(self.folder)

    def add(self, documents: list[Document]) -> None:
        self.open().append(documents, Topics())

    def run(self, day: datetime.date = MONDAY, every: str = "", **more: Any) -> Report:
        source = Source.open(self.folder, load, lambda name: self.votes)
        return run(self.store, source, self.links, self.settings, day, every, **more)

    def lines(self) -> list[tuple[str, str, int]]:
        with self.store.reading() as db:
            return db.execute("SELECT period, state, attempts FROM ledger ORDER BY period, subscription").fetchall()


@pytest.fixture
def desk(tmp_path: Path, mail_server: Running) -> Desk:
    return Desk(tmp_path / "papers", mail_server.port)


def ids(message: EmailMessage) -> list[str]:
    """The documents a digest links to, in order."""
    text = message.get_body(("plain",))
    assert text is not None
    return [line.partition("?id=")[2] for line in text.get_content().split() if "/item?id=" in line]


def test_what_is_new_and_near_is_sent_once(desk: Desk, mail_server: Running) -> None:
    desk.subscribe("ada@example.org", "cats")
    desk.subscribe("bob@example.org", "dogs")
    assert desk.run().json() | {"subscriptions": 2, "due": 2, "empty": 2, "sent": 0} == desk.run().json()  # nothing new: no mail
    assert mail_server.inbox.taken == [] and desk.lines() == []
    desk.add([*about("cats", 0, 3), *about("queues", 0, 4)])
    report = desk.run()
    assert (report.sent, report.empty, report.failed) == (1, 1, False)
    [(to, message)] = mail_server.inbox.taken
    assert to == "ada@example.org" and sorted(ids(message)) == ["cats-0", "cats-1", "cats-2"]
    for _ in range(2):
        assert desk.run().sent == 0  # again the same day: nothing
    assert desk.run(MONDAY + datetime.timedelta(1)).sent == 0  # the next day there is nothing new
    desk.add(about("dogs", 0, 1))
    desk.run(MONDAY + datetime.timedelta(1))
    assert [to for to, _ in mail_server.inbox.taken] == ["ada@example.org", "bob@example.org"]
    assert desk.lines() == [("2026-11-23", "sent", 1), ("2026-11-24", "sent", 1)]


def test_new_means_not_there_before_whatever_its_date(desk: Desk, mail_server: Running) -> None:
    desk.add(about("cats", 0, 1))
    desk.subscribe("ada@example.org", "cats")  # what is there by now is not new
    desk.add(about("cats", 1, 1, date=datetime.date(2001, 1, 1)))
    desk.run()
    assert ids(mail_server.inbox.taken[0][1]) == ["cats-1"]
    desk.open().upsert([Document("cats-0", "cats that changed"), Document("cats-1", "cats that changed too")], Topics())
    desk.open().compact()
    desk.open().delete(["cats-0"]).append([Document("cats-0", "cats that came back")], Topics())
    assert desk.run(MONDAY + datetime.timedelta(1)).sent == 0


def test_what_was_not_near_once_is_background_from_then_on(desk: Desk, mail_server: Running) -> None:
    id = desk.subscribe("ada@example.org", "cats")
    for number in range(3):
        desk.add(about("dogs", number, 1))
        assert desk.run(MONDAY).empty == 1
        one = desk.store.subscription(id)
        assert one is not None and one.look == arrivals.look(desk.store, "", desk.open())
    desk.add(about("cats", 0, 1))
    desk.run(MONDAY)
    assert "the 153 that were there before" in " ".join(str(mail_server.inbox.taken[0][1]).split())


def test_daily_and_weekly(desk: Desk, mail_server: Running) -> None:
    desk.subscribe("day@example.org", "cats", "daily")
    desk.subscribe("week@example.org", "cats", "weekly")
    for number in range(8):  # Monday to Monday, with something new each day
        desk.add(about("cats", number, 1))
        day = MONDAY + datetime.timedelta(number)
        desk.run(day, "daily")
        desk.run(day, "daily")
        desk.run(day)
    got = {who: [ids(m) for to, m in mail_server.inbox.taken if to == f"{who}@example.org"] for who in ("day", "week")}
    assert got["day"] == [[f"cats-{number}"] for number in range(8)]
    assert [sorted(one) for one in got["week"]] == [["cats-0"], [f"cats-{number}" for number in range(1, 8)]]
    with desk.store.reading() as db:
        assert {row[0] for row in db.execute("SELECT period FROM ledger WHERE period LIKE '%W%'")} == {"2026-W48", "2026-W49"}


def test_a_clock_that_goes_back_repeats_nothing(desk: Desk, mail_server: Running) -> None:
    """Or a run with ``--date``: what was sent is known by look and id, not by the day; and a day has one mail, whenever it is."""
    desk.subscribe("ada@example.org", "cats")
    desk.subscribe("bob@example.org")
    for number, day in enumerate((3, 1, 3, 2, 1)):
        desk.add(about("cats", number, 1, votes=9 + number, date=MONDAY))
        desk.run(MONDAY + datetime.timedelta(day))
    sent = [(to, id) for to, message in mail_server.inbox.taken for id in ids(message)]
    assert len(sent) == len(set(sent)) and {f"cats-{n}" for n in range(4)} <= {id for to, id in sent if to == "ada@example.org"}
    assert len(desk.lines()) == len(mail_server.inbox.taken) == 6


def test_trending_is_what_has_come_into_the_top(desk: Desk, mail_server: Running) -> None:
    desk.settings = replace(desk.settings, trending=3)
    day = datetime.timedelta(1)
    voted = [Document(f"v{n}", f"voted {n}", title=f"Voted {n}", votes=n, date=MONDAY - day) for n in (1, 5, 9, 2)]
    aged = Document("aged", "long ago", title="Long ago", votes=100, date=MONDAY - 300 * day)
    desk.add([*voted, aged])
    desk.subscribe("ada@example.org")
    desk.run(MONDAY)
    assert ids(mail_server.inbox.taken[0][1]) == ["v9", "v5", "v2"]  # 100 votes of long ago decayed away
    desk.run(MONDAY + day)
    assert len(mail_server.inbox.taken) == 1  # the same three: nothing new
    desk.votes = {"v1": 30}
    desk.run(MONDAY + 2 * day)
    assert ids(mail_server.inbox.taken[1][1]) == ["v1"] and "31 votes" in str(mail_server.inbox.taken[1][1])
    desk.run(MONDAY + 3 * day)
    assert len(mail_server.inbox.taken) == 2


def test_nobody_unconfirmed_suspended_or_gone_gets_anything(desk: Desk, mail_server: Running) -> None:
    Signup(desk.store, desk.links).ask("pending@example.org", "cats")
    gone = desk.subscribe("gone@example.org", "cats")
    desk.store.forget(id=gone)
    desk.add(about("cats", 0, 2))
    with Mailer(desk.settings) as mailer:
        mailer.send = lambda *args: pytest.fail("a digest was sent")
        with desk.store.changing() as db:
            db.execute("UPDATE spool SET state = 'sent'")
        assert desk.run(mailer=mailer).due == 0


def test_who_leaves_during_a_run_is_not_sent_to(desk: Desk, mail_server: Running) -> None:
    first, second = desk.subscribe("a@example.org", "cats"), desk.subscribe("b@example.org", "cats")
    desk.add(about("cats", 0, 1))
    mail_server.inbox.accepted = lambda: desk.store.forget(id=second) and None
    report = desk.run()
    assert (report.sent, report.withdrawn) == (1, 1) and [to for to, _ in mail_server.inbox.taken] == ["a@example.org"]
    with desk.store.reading() as db:
        assert [row[0] for row in db.execute("SELECT subscription FROM ledger")] == [first]


# -- failures ------------------------------------------------------------------------------------------------------------


def test_a_temporary_failure_is_mended_in_the_run_or_by_the_next(desk: Desk, mail_server: Running) -> None:
    desk.subscribe("ada@example.org", "cats")
    desk.add(about("cats", 0, 1))
    mail_server.inbox.answers = ["RCPT 450 later", "DATA 451 later"]
    assert desk.run().sent == 1 and desk.lines() == [("2026-11-23", "sent", 3)]
    desk.add(about("cats", 1, 1))
    tuesday = MONDAY + datetime.timedelta(1)
    mail_server.inbox.answers = ["RCPT 450 later"] * (desk.settings.retries + 1)
    report = desk.run(tuesday)
    assert (report.sent, report.deferred, report.failed) == (0, 1, True) and desk.lines()[1][:2] == ("2026-11-24", "deferred")
    assert desk.run(tuesday).sent == 1
    assert [ids(m) for _, m in mail_server.inbox.taken] == [["cats-0"], ["cats-1"]]


def test_a_server_that_is_down_ends_the_run_and_loses_nothing(desk: Desk, mail_server: Running) -> None:
    for name in "abc":
        desk.subscribe(f"{name}@example.org", "cats")
    desk.add(about("cats", 0, 1))
    up = desk.settings
    desk.settings = replace(up, port=free_port(), retries=1)
    report = desk.run()
    assert (report.deferred, report.sent, report.failed) == (1, 0, True) and "2 more wait" in report.problems[0]
    desk.settings = up
    assert desk.run(MONDAY + datetime.timedelta(1)).sent == 3  # the next day what was new is new still
    assert all(ids(m) == ["cats-0"] for _, m in mail_server.inbox.taken)


def test_who_is_put_off_holds_up_nobody(desk: Desk, mail_server: Running) -> None:
    """A mail server that greylists one recipient, or all: nobody waits for another's pauses, and each is tried once a round."""
    for name in "abc":
        desk.subscribe(f"{name}@example.org", "cats")
    desk.add(about("cats", 0, 1))
    slept: list[float] = []
    with Mailer(desk.settings, slept.append) as mailer:
        mail_server.inbox.answers = ["RCPT 450 later"] * 4
        report = desk.run(mailer=mailer)
    assert (report.sent, report.deferred, report.failed) == (3, 0, False) and len(slept) == 2
    assert sorted(attempts for _, _, attempts in desk.lines()) == [2, 2, 3]
    assert [to[0] for to, _ in mail_server.inbox.taken] == ["b", "c", "a"]


def test_a_recipient_whose_server_hangs_up_does_not_keep_the_others_from_their_mail(desk: Desk) -> None:
    for name in "abc":
        desk.subscribe(f"{name}@example.org", "cats")
    desk.add(about("cats", 0, 1))
    with Curt("RCPT a@example.org", "550 5.1.1 nobody here") as server:
        desk.settings = replace(desk.settings, port=server.port)
        report = desk.run()
        assert (report.sent, report.refused, report.deferred, report.failed) == (2, 1, 0, False)
        desk.add(about("cats", 1, 1))
        server.reply = ""  # not a word
        report = desk.run(MONDAY + datetime.timedelta(1))
        assert (report.sent, report.refused, report.deferred, report.problems) == (2, 0, 1, [])


@pytest.mark.parametrize(("step", "unknown", "deferred"), [("BODY", 3, 0), ("RCPT", 0, 3)])
def test_a_server_that_says_nothing_costs_three_mails_not_all(step: str, unknown: int, deferred: int, desk: Desk) -> None:
    """What may have arrived is not sent again, so a broken server must not be given everybody's."""
    for number in range(8):
        desk.subscribe(f"a{number}@example.org", "cats")
    desk.add(about("cats", 0, 1))
    with Curt(step, "") as server:
        desk.settings = replace(desk.settings, port=server.port)
        report = desk.run()
        assert (report.unknown, report.deferred, report.sent, report.failed) == (unknown, deferred, 0, True)
        assert "3 mails in a row without an answer" in report.problems[0] and "5 more wait" in report.problems[0]
        server.step = ""
        assert desk.run().sent == 5 + deferred


def test_permanent_failures_are_marked_and_suspend_after_three(desk: Desk, mail_server: Running) -> None:
    id = desk.subscribe("ada@example.org", "cats")
    states = []
    for number in range(4):
        desk.add(about("cats", number, 1))
        mail_server.inbox.answers = ["RCPT 550 5.1.1 nobody here"]
        report = desk.run(MONDAY + datetime.timedelta(number))
        assert desk.run(MONDAY + datetime.timedelta(number)).refused == 0  # marked: not tried again in this period
        one = desk.store.subscription(id)
        assert one is not None
        states.append((report.refused, report.suspended, one.state))
    assert states == [(1, 0, ACTIVE), (1, 0, ACTIVE), (1, 1, SUSPENDED), (0, 0, SUSPENDED)] and mail_server.inbox.taken == []
    mail_server.inbox.answers = []
    desk.subscribe("ada@example.org", "cats")  # confirmed anew
    desk.add(about("cats", 9, 1))
    assert desk.run(MONDAY + datetime.timedelta(5)).sent == 1
    one = desk.store.subscription(id)
    assert one is not None and one.failures == 0


def test_a_refusal_of_what_we_are_does_not_suspend_them(desk: Desk, mail_server: Running) -> None:
    id = desk.subscribe("ada@example.org", "cats")
    for number in range(5):
        desk.add(about("cats", number, 1))
        mail_server.inbox.answers = ["DATA 554 5.7.1 your network has a bad name"]
        assert desk.run(MONDAY + datetime.timedelta(number)).refused == 1
    one = desk.store.subscription(id)
    assert one is not None and one.state == ACTIVE


def test_a_wrong_configuration_stops_the_run_before_anybody_is_blamed(desk: Desk) -> None:
    desk.subscribe("ada@example.org", "cats")
    desk.add(about("cats", 0, 1))
    desk.settings = replace(desk.settings, security="starttls")
    with pytest.raises(TransportError, match="STARTTLS"):
        desk.run()
    assert desk.lines() == []


def test_a_line_that_breaks_before_the_answer_is_not_sent_again(desk: Desk, mail_server: Running) -> None:
    desk.subscribe("ada@example.org", "cats")
    desk.add(about("cats", 0, 1))
    mail_server.inbox.answers = ["DATA drop"]
    assert desk.run().unknown == 1
    assert desk.run().sent == 0 and desk.run(MONDAY + datetime.timedelta(1)).sent == 0
    assert len(mail_server.inbox.taken) == 1


# -- death ---------------------------------------------------------------------------------------------------------------

CHILD = """
    import datetime, os, signal, sys
    from pathlib import Path
    from dipole.digest import ledger, run, smtp
    from dipole.digest.links import Links
    from dipole.digest.settings import MailSettings
    from dipole.digest.source import Source
    from dipole.digest.store import Store
    from tests.digest.servers import load

    folder, port, step = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]

    def die(*args, **kw):
        os.kill(os.getpid(), signal.SIGKILL)

    def before(owner, name):
        setattr(owner, name, die)

    def after(owner, name):
        real = getattr(owner, name)
        setattr(owner, name, lambda *args, **kw: (real(*args, **kw), die()))

    {"before the intent": lambda: before(ledger, "leaves"),
     "after the intent": lambda: after(ledger, "leaves"),
     "before the outcome": lambda: before(ledger, "ended"),
     "after the outcome": lambda: after(ledger, "ended"),
     "nowhere": lambda: None}[step]()
    known = MailSettings("Papers <papers@example.org>", "https://papers.example.org", "127.0.0.1", port, "none").checked()
    source = Source.open(folder, load)
    run.run(Store(folder / "state"), source, Links(b"0123456789abcdef0123456789abcdef", known.base_url), known, datetime.date(2026, 11, 23))
"""


def child(desk: Desk, port: int, step: str) -> subprocess.Popen[str]:
    root = Path(__file__).parents[2]
    there = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root / "src"), str(root)])}
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(CHILD), str(desk.folder), str(port), step], env=there, text=True)


@pytest.mark.parametrize(
    ("step", "arrived", "left", "after"),
    [
        ("before the intent", 0, [], ["sent"]),  # nothing had left: the next run sends it
        ("after the intent", 0, ["leaving"], ["unknown"]),  # the price of at most once: lost, and said so
        ("before the outcome", 1, ["leaving"], ["unknown"]),  # the server has it: not sent again
        ("after the outcome", 1, ["sent"], ["sent"]),
    ],
)
def test_killed_at_any_step_nothing_is_sent_twice(
    step: str, arrived: int, left: list[str], after: list[str], desk: Desk, mail_server: Running
) -> None:
    desk.subscribe("ada@example.org", "cats")
    desk.add(about("cats", 0, 1))
    assert child(desk, mail_server.port, step).wait(120) == -signal.SIGKILL
    assert len(mail_server.inbox.taken) == arrived and [state for _, state, _ in desk.lines()] == left
    report = desk.run()
    assert [state for _, state, _ in desk.lines()] == after and bool(report.problems) == (after == ["unknown"])
    assert desk.run().sent == 0 and desk.run(MONDAY + datetime.timedelta(1)).sent == 0
    assert len(mail_server.inbox.taken) == (1 if arrived or after == ["sent"] else 0)
    desk.add(about("cats", 1, 1))
    assert desk.run(MONDAY + datetime.timedelta(2)).sent == 1  # and life goes on
    assert ids(mail_server.inbox.taken[-1][1]) == ["cats-1"]


def test_of_two_processes_one_sends(desk: Desk, mail_server: Running) -> None:
    for number in range(6):
        desk.subscribe(f"a{number}@example.org", "cats")
    desk.add(about("cats", 0, 1))
    running = [child(desk, mail_server.port, "nowhere") for _ in range(2)]
    codes = sorted(one.wait(120) for one in running)
    assert codes[0] == 0 and sorted(to for to, _ in mail_server.inbox.taken) == [f"a{number}@example.org" for number in range(6)]
    with ledger.only_one(desk.store.folder), pytest.raises(BusyError):
        desk.run()


# -- what a mail says ----------------------------------------------------------------------------------------------------


def test_a_digest_is_a_proper_mail(desk: Desk, mail_server: Running) -> None:
    id = desk.subscribe("ada@example.org", "cats")
    desk.add(about("cats", 0, 1, authors=("A. Lovelace", "C. Babbage"), date=MONDAY, url="https://example.org/cats?a=1&b=2"))
    desk.run(moment=datetime.datetime(2026, 11, 23, 6, tzinfo=datetime.UTC))
    [(_, message)] = mail_server.inbox.taken
    leave = desk.links.unsubscribe(id)
    assert message["List-Unsubscribe"] == f"<{leave}>" and message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    head = mail_server.inbox.raw[0].partition(b"\r\n\r\n")[0].split(b"\r\n")
    assert f"List-Unsubscribe: <{leave}>".encode() in head  # as it is: a folded or encoded one is no link to a mail reader
    assert b"List-Unsubscribe-Post: List-Unsubscribe=One-Click" in head and b"List-ID: <digest.example.org>" in head
    assert message["From"] == "Papers <papers@example.org>" and message["Date"] == "Mon, 23 Nov 2026 06:00:00 +0000"
    assert message["Subject"] == "One new near “cats” · 2026-11-23" and message["Auto-Submitted"] == "auto-generated"
    assert message.get_content_type() == "multipart/alternative"
    text, html = (message.get_body((kind,)).get_content() for kind in ("plain", "html"))
    for said in ("On cats, part 0", "A. Lovelace, C. Babbage", "2026-11-23", "https://papers.example.org/item?id=cats-0", leave):
        assert said in text and said in html
    assert "https://example.org/cats?a=1&b=2" in text and "https://example.org/cats?a=1&amp;b=2" in html
    assert "prefers-color-scheme: dark" in html and "<script" not in html and "<img" not in html
    assert "nearer to your query than 99.34%" in text and "at most about 9.93% of unrelated ones pass" in " ".join(text.split())
    assert all(len(line) < 998 for line in message.as_bytes().splitlines())


def test_the_same_digest_has_the_same_message_id(desk: Desk, mail_server: Running) -> None:
    from dipole.digest.compose import Digest, digest_message

    one = desk.store.subscription(desk.subscribe("ada@example.org", "cats"))
    assert one is not None
    moment = datetime.datetime(2026, 11, 23, tzinfo=datetime.UTC)
    made = Digest(one, "2026-11-23", MONDAY, about("cats", 0, 2), ["", ""])

    def written(digest: Digest) -> bytes:
        return digest_message(digest, desk.settings, desk.links, moment).as_bytes()

    assert written(made) == written(made)

    def name(digest: Digest) -> str:
        return str(digest_message(digest, desk.settings, desk.links, moment)["Message-ID"])

    other = [
        replace(made, period="2026-11-24"),
        replace(made, documents=about("cats", 1, 2)),
        replace(made, subscription=replace(one, id="x")),
    ]
    assert len({name(made), *map(name, other)}) == 4


@pytest.mark.parametrize("break_in", ["title", "text", "authors", "url", "id", "query"])
def test_what_comes_from_outside_stays_text(break_in: str, desk: Desk, mail_server: Running) -> None:
    evil = "cats <script>alert(1)</script>\r\nBcc: eve@example.org\r\n\r\n\"'><img src=x onerror=y> \u202e大 😀 cats"
    fields: dict[str, Any] = {"title": "On cats", "text": "about cats", "id": "cats-0"}
    if break_in == "query":
        desk.subscribe("ada@example.org", evil.replace("eve@example.org", "eve"))
    else:
        desk.subscribe("ada@example.org", "cats")
        fields[break_in] = {"authors": (evil,), "url": "javascript:alert('cats')"}.get(break_in, evil)
    desk.add([Document(**fields)])
    assert desk.run().sent == 1
    [(to, message)] = mail_server.inbox.taken
    assert to == "ada@example.org" and "Bcc" not in message and message["To"] == "ada@example.org"
    assert "\n" not in message["Subject"] and "\r" not in message["Subject"]
    html = message.get_body(("html",)).get_content()
    assert "<script" not in html and "<img" not in html and "javascript:" not in html
    if break_in in ("title", "text", "authors", "query"):
        assert "&lt;script&gt;" in html and "大" in html


def test_more_than_fit_is_said(desk: Desk, mail_server: Running) -> None:
    desk.settings = replace(desk.settings, limit=2)
    desk.subscribe("ada@example.org", "cats")
    desk.add(about("cats", 0, 5))
    desk.run()
    [(_, message)] = mail_server.inbox.taken
    assert len(ids(message)) == 2 and "3 more did not fit" in message.get_body(("plain",)).get_content()


def test_several_collections_in_a_folder(tmp_path: Path, mail_server: Running) -> None:
    desk = Desk(tmp_path / "all" / "one", mail_server.port)
    Collection.create(tmp_path / "all" / "two", OLD, Topics())
    desk.folder, desk.store = tmp_path / "all", Store(tmp_path / "all" / "state")
    for name in ("one", "two"):
        look = partial(arrivals.look, desk.store, collection=Collection.open(desk.folder / name))
        Signup(desk.store, desk.links).admit(f"{name}@example.org", "cats", "daily", name, look)
    Signup(desk.store, desk.links).admit("gone@example.org", "cats", "daily", "three", lambda name: 0)
    Collection.open(desk.folder / "two").append(about("cats", 0, 1), Topics())
    report = desk.run()
    assert (report.sent, report.empty, report.problems) == (1, 1, ["collection 'three' is gone; its subscribers wait"])
    [(to, message)] = mail_server.inbox.taken
    assert to == "two@example.org" and "item?id=cats-0&collection=two" in message.get_body(("plain",)).get_content()


def test_a_collection_that_cannot_be_read_keeps_nobody_elses_mail(tmp_path: Path, mail_server: Running) -> None:
    """Its subscribers wait; those of the others get theirs, and the run says what is wrong."""
    folder = tmp_path / "all"
    desk = Desk(folder / "one", mail_server.port)
    desk.folder, desk.store = folder, Store(folder / "state")
    other = type("Other", (Topics,), {"model": "other"})()
    for name, model in (("damaged", Topics()), ("lost", Topics()), ("model", other)):
        Collection.create(folder / name, OLD, model)
    for name in ("damaged", "lost", "model", "one"):
        Signup(desk.store, desk.links).admit(f"{name}@example.org", "cats", "daily", name, lambda name: 0)
    (folder / "damaged" / "collection.json").write_text("{")
    for path in [path for path in (folder / "lost").rglob("*.lance") if path.is_file()]:
        path.unlink()

    def not_installed(name: str) -> Topics:
        if name == "other":
            raise UsageError("pip install 'dipole[text]'")
        return load(name)

    report = run(desk.store, Source.open(folder, not_installed), desk.links, desk.settings, MONDAY)
    assert [to for to, _ in mail_server.inbox.taken] == ["one@example.org"] and (report.sent, report.failed) == (1, True)
    damaged, lost, model = sorted(report.problems)
    for name, problem in (("damaged", damaged), ("lost", lost)):
        assert problem.startswith(f"collection '{name}' cannot be read: ") and problem.endswith("; its subscribers wait")
    assert model == "the model of collection 'model' cannot be used: pip install 'dipole[text]'; its subscribers to queries wait"


@pytest.mark.parametrize("barred", ["manifest", "folder"])
def test_a_collection_that_may_not_be_read_keeps_nobody_elses_mail(
    barred: str, tmp_path: Path, mail_server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where ``dipole ingest`` ran as another user. The tests may run as root, who may read all, so the system's answer is made up."""
    desk = Desk(tmp_path / "all" / "one", mail_server.port)
    desk.folder, desk.store = tmp_path / "all", Store(tmp_path / "all" / "state")
    Collection.create(desk.folder / "closed", OLD, Topics())
    for name in ("closed", "one"):
        Signup(desk.store, desk.links).admit(f"{name}@example.org", "cats", "daily", name, lambda name: 0)
    for method in ("stat", "read_text") if barred == "folder" else ("read_text",):
        real = getattr(Path, method)

        def refused(path: Path, *given: Any, real: Any = real, **more: Any) -> Any:
            if path == desk.folder / "closed" / "collection.json":
                raise PermissionError(13, "Permission denied", str(path))
            return real(path, *given, **more)

        monkeypatch.setattr(Path, method, refused)
    report = desk.run()
    assert [to for to, _ in mail_server.inbox.taken] == ["one@example.org"] and report.failed
    [problem] = report.problems
    assert problem.startswith("collection 'closed' cannot be read: ") and "Permission denied" in problem


def test_votes_that_cannot_be_read_keep_only_those_waiting_who_need_them(
    desk: Desk, mail_server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.subscribe("trending@example.org")
    desk.subscribe("query@example.org", "cats")
    desk.add(about("cats", 0, 1))

    def damaged(name: str) -> dict[str, int]:
        raise DataError("the votes cannot be used", path="page.sqlite")

    report = run(desk.store, Source.open(desk.folder, load, damaged), desk.links, desk.settings, MONDAY)
    assert [to for to, _ in mail_server.inbox.taken] == ["query@example.org"] and report.failed
    [problem] = report.problems
    assert problem == (
        "the votes for the collection cannot be used: page.sqlite: the votes cannot be used; its subscribers to trending wait"
    )


def test_a_model_that_cannot_be_loaded_keeps_only_those_waiting_who_need_it(desk: Desk, mail_server: Running) -> None:
    desk.subscribe("query@example.org", "cats")
    desk.subscribe("trending@example.org")
    desk.add(about("cats", 0, 1))

    def not_installed(name: str) -> Topics:
        raise UsageError("pip install 'dipole[text]'")

    report = run(desk.store, Source.open(desk.folder, not_installed), desk.links, desk.settings, MONDAY)
    assert [to for to, _ in mail_server.inbox.taken] == ["trending@example.org"] and report.failed
    assert report.problems == ["the model of the collection cannot be used: pip install 'dipole[text]'; its subscribers to queries wait"]


def test_a_damaged_ledger_is_not_said_to_be_a_damaged_collection(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.subscribe("ada@example.org")

    def damaged(store: Store, subscription: str) -> set[str]:
        raise DataError("the digests cannot be used", path=store.path)

    monkeypatch.setattr(ledger, "told", damaged)
    with pytest.raises(DataError, match="the digests cannot be used"):
        desk.run()


def test_trouble_that_arises_when_mails_are_tried_again_is_told(desk: Desk) -> None:
    """The first round put them off; in the second the server takes three bodies and says nothing, so nobody is put off any more."""
    for name in "abc":
        desk.subscribe(f"{name}@example.org", "cats")
    desk.add(about("cats", 0, 1))
    with Curt("RCPT", "450 later", hang_up=False) as server:
        desk.settings = replace(desk.settings, port=server.port)

        def silent(seconds: float) -> None:
            server.step, server.reply, server.hang_up = "BODY", "", True

        with Mailer(desk.settings, silent) as mailer:
            report = desk.run(mailer=mailer)
    assert (report.unknown, report.deferred, report.failed) == (3, 0, True)
    [problem] = report.problems
    assert problem.startswith("the mail server left 3 mails in a row without an answer")


def test_confirmations_that_the_server_does_not_take_are_told(desk: Desk) -> None:
    Signup(desk.store, desk.links).ask("ada@example.org")
    desk.settings = replace(desk.settings, port=free_port(), retries=0)
    report = desk.run()
    assert (report.confirmations_sent, report.confirmations_waiting, report.failed) == (0, 1, True)
    [problem] = report.problems
    assert problem.startswith("the mail server takes no mail (") and problem.endswith("; confirmations wait for the next run")


def test_upkeep_of_the_collection_leaves_subscribers_alone(desk: Desk, mail_server: Running) -> None:
    id = desk.subscribe("ada@example.org", "cats")
    first = desk.open().manifest.number
    desk.add(about("cats", 0, 1))
    desk.open().rollback(first)
    desk.open().compact(1)
    Collection.rebuild(desk.folder, [*OLD, *about("cats", 1, 1)], Topics())
    assert desk.store.subscription(id) is not None
    assert desk.run().sent == 1 and ids(mail_server.inbox.taken[0][1]) == ["cats-1"]
