"""``dipole digest``: rehearse, subscribe, send, list, forget; and what it says when it cannot."""

from __future__ import annotations

import email
import email.policy
import json
import re
import sqlite3
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path
from typing import Any, cast

import pytest

from dipole.cli.main import main
from dipole.digest import postman as postmen
from dipole.digest import spool, store
from dipole.digest.office import Office
from dipole.digest.postman import Postman
from dipole.digest.smtp import Mailer
from dipole.digest.spool import Round
from dipole.search.collection import Collection
from tests.digest.servers import Running, Topics, about
from tests.digest.test_run import ids
from tests.ports import free_port

pytest.importorskip("lancedb")


@pytest.fixture
def mailed(folder: Path, mail_server: Running) -> Path:
    """The same with a mail server."""
    (folder / "state").mkdir()
    lines = ['from = "Papers <papers@example.org>"', 'base_url = "https://papers.example.org"', "[smtp]", 'host = "127.0.0.1"']
    (folder / "state" / "mail.toml").write_text("\n".join([*lines, f"port = {mail_server.port}", 'security = "none"', "pause = 0.001"]))
    return folder


def read(path: Path) -> EmailMessage:
    message = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


def dump(folder: Path) -> list[str]:
    with sqlite3.connect(folder / "state" / "digest.sqlite") as db:
        return list(db.iterdump())


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_rehearsal_shows_what_a_mail_looks_like_before_anybody_subscribed(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = tree(folder)
    assert main(["digest", str(folder), "--dry-run", str(tmp_path / "out"), "--date", "2026-11-23"]) == 0
    said = capsys.readouterr()
    [written] = (tmp_path / "out").iterdir()
    assert said.out.strip() == str(written) and "nobody" in said.err
    message = read(written)
    assert message["Subject"] == "Trending, 10 are new · 2026-11-23" and len(ids(message)) == 10
    assert "http://127.0.0.1:8000/item?id=old-" in message.get_body(("plain",)).get_content()
    assert tree(folder) == before  # no state is made
    assert (
        main(["digest", str(folder), "--dry-run", str(tmp_path / "two"), "--query", "nothing in particular", "--date", "2026-11-23"]) == 0
    )
    [written] = (tmp_path / "two").iterdir()
    assert "new near “nothing in particular”" in read(written)["Subject"] and tree(folder) == before


def test_two_steps_a_rehearsal_and_the_real_thing(
    mailed: Path, tmp_path: Path, mail_server: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    name, sent = str(mailed), mail_server.inbox.taken
    assert main(["digest", name, "--subscribe", "Ada@Example.org", "--query", "cats", "--every", "weekly"]) == 0
    [(to, asked)] = sent
    text = asked.get_body(("plain",)).get_content()
    assert to == "Ada@example.org" and asked["Subject"] == "Confirm your subscription to “cats”" and "weekly" in text
    assert main(["digest", name, "--list"]) == 0 and "Ada@example.org  weekly  pending  “cats”" in capsys.readouterr().out
    Collection.open(mailed).append(about("dogs", 0, 1), Topics())
    assert main(["digest", name]) == 0 and len(sent) == 1  # nothing goes to who has not confirmed
    token = next(line for line in text.split() if "/confirm/" in line).rpartition("/")[2]
    office = Office.open(mailed)
    from dipole.digest import arrivals

    office.desk.confirm(token, lambda name: arrivals.look(office.store, name, Collection.open(mailed)))
    Collection.open(mailed).append(about("cats", 0, 2), Topics())
    before, outs = dump(mailed), []
    for place in ("one", "two"):
        capsys.readouterr()
        assert main(["digest", name, "--dry-run", str(tmp_path / place), "--date", "2026-11-23"]) == 0
        outs.append([path.read_bytes() for path in sorted((tmp_path / place).iterdir())])
    assert dump(mailed) == before and len(sent) == 1 and outs[0] == outs[1] and len(outs[0]) == 1  # changes nothing, always the same
    assert main(["digest", name, "--every", "daily", "--date", "2026-11-23"]) == 0 and len(sent) == 1
    assert main(["digest", name, "--date", "2026-11-23", "--json", str(tmp_path / "report.json")]) == 0
    to, message = sent[1]
    assert to == "Ada@example.org" and sorted(ids(message)) == ["cats-0", "cats-1"] and len(sent) == 2
    assert message["Message-ID"] == read(next((tmp_path / "one").iterdir()))["Message-ID"]
    assert json.loads((tmp_path / "report.json").read_text())["sent"] == 1
    for day in ("2026-11-23", "2026-11-24", "2026-11-29"):
        assert main(["digest", name, "--date", day]) == 0 and len(sent) == 2
    assert main(["digest", name, "--dry-run", str(tmp_path / "three"), "--date", "2026-11-24"]) == 0
    assert list((tmp_path / "three").iterdir()) == [] and "no mail would be sent" in capsys.readouterr().err
    assert main(["digest", name, "--forget", "ADA@example.org"]) == 0 and "1 subscriptions deleted" in capsys.readouterr().out
    assert not any("example.org" in line for line in dump(mailed))


def test_without_a_mail_server_confirmations_wait_and_sending_says_what_is_missing(
    folder: Path, mail_server: Running, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = str(folder)
    assert main(["digest", name, "--subscribe", "ada@example.org"]) == 0 and "1 wait for an SMTP server" in capsys.readouterr().out
    assert main(["digest", name]) == 2 and "mail.toml" in capsys.readouterr().err
    for variable, value in (("MAIL_FROM", "papers@example.org"), ("BASE_URL", "http://127.0.0.1:8000"), ("SMTP_HOST", "127.0.0.1")):
        monkeypatch.setenv(f"DIPOLE_{variable}", value)
    monkeypatch.setenv("DIPOLE_SMTP_PORT", str(mail_server.port))
    monkeypatch.setenv("DIPOLE_SMTP_SECURITY", "none")
    assert main(["digest", name]) == 0 and "1 confirmations sent" in capsys.readouterr().out
    assert main(["digest", name]) == 0 and mail_server.inbox.subjects == ["Confirm your subscription to trending"]


def test_what_is_put_off_is_exit_code_1(mailed: Path, mail_server: Running, capsys: pytest.CaptureFixture[str]) -> None:
    name = str(mailed)
    assert main(["digest", name, "--subscribe", "ada@example.org", "--confirmed"]) == 0
    mail_server.inbox.answers = ["RCPT 450 later"] * 4
    assert main(["digest", name, "--date", "2026-11-23"]) == 1 and "1 put off" in capsys.readouterr().out
    assert main(["digest", name, "--date", "2026-11-23"]) == 0 and mail_server.inbox.subjects == ["Trending, 10 are new · 2026-11-23"]
    (mailed / "state" / "mail.toml").write_text((mailed / "state" / "mail.toml").read_text().replace('"none"', '"starttls"'))
    assert main(["digest", name, "--subscribe", "bob@example.org"]) == 1 and "STARTTLS" in capsys.readouterr().err


def test_votes_on_the_page_count(folder: Path, tmp_path: Path) -> None:
    from dipole.serve.state import State

    State(folder / "state").mark("somebody", "papers", "old-77", "vote", True)
    assert main(["digest", str(folder), "--dry-run", str(tmp_path / "out")]) == 0
    [written] = (tmp_path / "out").iterdir()
    assert ids(read(written))[0] == "old-77" and "   1 vote" in read(written).get_body(("plain",)).get_content().splitlines()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--every", "hourly"], "daily or weekly"),
        (["--list", "--forget", "ada@example.org"], "one of them"),
        (["--query", "cats"], "go with --subscribe"),
        (["--confirmed"], "--subscribe"),
        (["--subscribe", "ada"], "e-mail address"),
        (["--subscribe", "ada@example.org", "--collection", "none"], "unknown collection"),
        (["--subscribe", "ada@example.org", "--collection", "papers"], "known: the only one, which needs no name"),
        (["--config", "none.toml"], "none.toml"),
        (["--date", "soon", "--list"], ""),
    ],
)
def test_a_wrong_call_is_exit_code_2(words: list[str], said: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["digest", str(folder), *words]) == 2 and said in capsys.readouterr().err


def test_a_folder_that_is_no_collection(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["digest", str(tmp_path / "none"), "--dry-run", str(tmp_path / "out")]) == 2
    assert "dipole index" in capsys.readouterr().err and not (tmp_path / "none").exists() and not (tmp_path / "out").exists()


@pytest.fixture
def three(folder: Path) -> Path:
    """A folder of collections, the first of which is damaged."""
    for name in "abc":
        Collection.create(folder.parent / "all" / name, about("cats", 0, 20), Topics())
    (folder.parent / "all" / "a" / "collection.json").write_text("{")
    return folder.parent / "all"


def test_the_first_collection_is_the_first_even_where_it_is_damaged(
    three: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, confirmed = str(three), ["--subscribe", "ada@example.org", "--confirmed"]
    for words in (confirmed, [*confirmed, "--collection", "a"], ["--dry-run", str(tmp_path / "out")]):
        assert main(["digest", name, *words]) == 1 and "collection 'a' cannot be read: " in capsys.readouterr().err
    assert main(["digest", name, "--list"]) == 0 and capsys.readouterr().out == ""
    assert main(["digest", name, *confirmed, "--collection", "d"]) == 2 and "known: a, b, c" in capsys.readouterr().err
    assert main(["digest", name, *confirmed, "--collection", "b"]) == 0
    assert main(["digest", name, "--list"]) == 0 and "active  b: trending" in capsys.readouterr().out
    assert main(["digest", name, "--dry-run", str(tmp_path / "out"), "--collection", "c"]) == 0
    [written] = (tmp_path / "out").iterdir()
    assert "&collection=c" in read(written).get_body(("plain",)).get_content()


def test_a_mail_server_that_is_down_is_told_to_whoever_subscribes_somebody(mailed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = mailed / "state" / "mail.toml"
    path.write_text(re.sub(r"port = \d+", f"port = {free_port()}", path.read_text()) + "\nretries = 0")
    assert main(["digest", str(mailed), "--subscribe", "ada@example.org"]) == 1
    said = capsys.readouterr()
    assert "0 confirmations sent, 1 wait" in said.out and "the mail server takes no mail" in said.err


# -- confirmations -------------------------------------------------------------------------------------------------------


def test_a_confirmation_that_was_put_off_comes_later_and_once(mailed: Path, mail_server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    office = Office.open(mailed)
    office.desk.ask("ada@example.org", "cats")
    office.desk.ask("eve@example.org", "cats")
    mail_server.inbox.answers = ["RCPT 450 later", "RCPT 550 nobody"]
    assert office.flush() == Round(0, 1)
    assert office.flush() == Round(0, 1)  # not due yet
    monkeypatch.setattr(store, "now", lambda now=store.now: now() + 61)
    assert office.flush() == Round(1, 0) and office.flush() == Round(0, 0)
    assert [to for to, _ in mail_server.inbox.taken] == ["ada@example.org"]


def test_of_two_flushes_at_once_one_sends(mailed: Path, mail_server: Running) -> None:
    office = Office.open(mailed)
    office.desk.ask("ada@example.org")
    mail_server.inbox.accepted = lambda: office.flush() and None  # while the mail is in hand
    assert office.flush() == Round(1, 0) and len(mail_server.inbox.taken) == 1


@pytest.mark.parametrize("step", ["nothing left", "body left"])
def test_a_confirmation_that_a_process_died_over(step: str, mailed: Path, mail_server: Running) -> None:
    """Before its body leaves it waits on, after that it is not sent again. A server that is stopped while it waits dies so, too."""
    office = Office.open(mailed)
    office.desk.ask("ada@example.org")

    class Killed(BaseException): ...

    class Dying:
        def send(self, message: object, to: str, leaving: Callable[[], bool], back: object) -> None:
            if step == "body left":
                assert leaving()
            raise Killed

    with pytest.raises(Killed):
        spool.flush(office.store, office.settings, office.links, cast(Mailer, Dying()))
    assert office.flush() == Round(int(step == "nothing left"), 0)


def test_a_server_that_is_down_for_long_costs_no_confirmation(mailed: Path, mail_server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    path = mailed / "state" / "mail.toml"
    said = path.read_text()
    path.write_text(said.replace(str(mail_server.port), str(free_port())) + "\nretries = 0")
    office, now = Office.open(mailed), store.now
    office.desk.ask("ada@example.org")
    for hour in range(24):
        monkeypatch.setattr(store, "now", lambda hour=hour: now() + 3600 * hour)
        done = office.flush()
        assert (done.sent, done.waiting) == (0, 1) and done.trouble.startswith("the mail server takes no mail (")
    path.write_text(said)
    assert Office.open(mailed).flush() == Round(1, 0)


def test_the_postman_outlives_a_fault(mailed: Path, mail_server: Running, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    faults = [RuntimeError("out of something")]
    real = spool.flush
    monkeypatch.setattr(spool, "flush", lambda *given: (_ for _ in ()).throw(faults.pop()) if faults else real(*given))
    monkeypatch.setattr(postmen, "_AGAIN", 0.05)
    office = Office.open(mailed)
    office.desk.ask("ada@example.org")
    postman = Postman(office)
    postman.nudge()
    if (thread := postman._thread) is not None:
        thread.join(30)
    assert len(mail_server.inbox.taken) == 1 and "out of something" in caplog.text
    postman.close()


def test_what_left_before_a_fault_is_counted(mailed: Path, mail_server: Running) -> None:
    office = Office.open(mailed)
    for name in "abc":
        office.desk.ask(f"{name}@example.org")
    left = iter((lambda: None, lambda: mail_server.inbox.answers.append("MAIL 550 no more of you")))
    mail_server.inbox.accepted = lambda: next(left)()
    postman = Postman(office)
    assert postman._round() and (postman.sent, postman.failures) == (2, 1)
    assert len(mail_server.inbox.taken) == 2 and len(spool.waiting(office.store)) == 1


def test_who_is_subscribed_already_is_told_so(mailed: Path, mail_server: Running) -> None:
    office = Office.open(mailed)
    office.desk.admit("ada@example.org", "", "daily", "", lambda name: 1)
    office.desk.ask("ada@example.org")
    office.flush()
    [(_, message)] = mail_server.inbox.taken
    text = message.get_body(("plain",)).get_content()
    assert message["Subject"] == "You are already subscribed to trending" and "/confirm/" not in text and "/unsubscribe/" in text


def test_the_postman_sends_in_the_background(mailed: Path, mail_server: Running) -> None:
    office = Office.open(mailed)
    postman = Postman(office)
    for number in range(4):
        office.desk.ask(f"a{number}@example.org")
        postman.nudge()
    thread = postman._thread
    if thread is not None:
        thread.join(30)
    assert spool.waiting(office.store) == [] and len(mail_server.inbox.taken) == 4
    postman.close()
    office.desk.ask("late@example.org")
    postman.nudge()
    assert len(spool.waiting(office.store)) == 1


def test_the_postman_waits_for_a_server_that_is_down(mailed: Path, mail_server: Running, caplog: pytest.LogCaptureFixture) -> None:
    path = mailed / "state" / "mail.toml"
    path.write_text(path.read_text().replace(str(mail_server.port), str(free_port())))
    office = Office.open(mailed)
    office.desk.ask("ada@example.org")
    postman = Postman(office)
    postman.nudge()
    postman.close()
    assert len(spool.waiting(office.store)) == 1 and postman._thread is None
