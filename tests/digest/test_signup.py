"""Signing up: what strangers type is checked, two steps are needed, nothing is told, and limits hold."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest

from dipole.core.errors import DataError, UsageError
from dipole.digest import links as signed
from dipole.digest import signup, store
from dipole.digest.address import AddressError, cleaned, normalised
from dipole.digest.links import LinkError, Links, secret
from dipole.digest.signup import Signup, TooManyError
from dipole.digest.store import Store

pytest.importorskip("itsdangerous")
KEY = b"0123456789abcdef0123456789abcdef"


@pytest.fixture
def desk(tmp_path: Path) -> Signup:
    return Signup(Store(tmp_path / "state"), Links(KEY, "https://papers.example.org"))


def waiting(desk: Signup) -> list[tuple[str, str]]:
    """(address, confirmation's token) of every mail in the spool."""
    with desk.store.reading() as db:
        rows = db.execute(
            "SELECT address, s.id, p.every FROM spool p JOIN subscriptions s ON s.id = p.subscription ORDER BY number"
        ).fetchall()
    return [(address, desk.links.confirm(id, every).rpartition("/")[2]) for address, id, every in rows]


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("ada@example.org", "ada@example.org"),
        (" Ada.L+papers@EXAMPLE.org\n", "Ada.L+papers@example.org"),
        ("o'brien@example.co.uk", "o'brien@example.co.uk"),
        ("ada@bücher.example", "ada@xn--bcher-kva.example"),
        ("ada@例え.テスト", "ada@xn--r8jz45g.xn--zckzah"),
    ],
)
def test_addresses_have_one_form(typed: str, kept: str) -> None:
    assert normalised(typed) == kept


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "ada",
        "@example.org",
        "ada@",
        "ada@example",
        "ada@example.org\nBcc: all@example.org",
        "ada@example.org\r\n\r\nhello",
        "ada@exam\0ple.org",
        "ada @example.org",
        "ada@example.org, eve@example.org",
        "ada@example.org;eve@example.org",
        "Ada <ada@example.org>",
        '"ada\r\n"@example.org',
        '"ada"@example.org',
        "ada@[127.0.0.1]",
        "ada@127.0.0.1",
        ".ada@example.org",
        "a..da@example.org",
        "ada@-example.org",
        "ada@example..org",
        "ada@straße.example",
        "ädä@example.org",
        "a" * 65 + "@example.org",
        "ada@" + "a." * 130 + "org",
        "ada@" + "a" * 64 + ".org",
        "ada@exa\u200dmple.org",
        "ada@example.org\u2028Bcc: eve@example.org",
    ],
)
def test_what_is_no_address_is_refused(typed: str) -> None:
    with pytest.raises(AddressError):
        normalised(typed)


def test_a_query_is_one_line_of_words() -> None:
    assert cleaned("  how do\r\nBcc: everybody queues\x00 go\u2028stale? ") == "how do Bcc: everybody queues go stale?"
    assert cleaned("Wie lernt man Größen? 大规模") == "Wie lernt man Größen? 大规模"
    for bad in ("", "?!", "\n", "x" * 501):
        with pytest.raises(AddressError):
            cleaned(bad)


def test_nothing_is_active_before_its_link_was_followed(desk: Signup) -> None:
    desk.ask("ada@example.org", "graph transformers", "weekly")
    [(address, token)] = waiting(desk)
    assert address == "ada@example.org" and desk.store.subscriptions(store.ACTIVE) == []
    offered, every = desk.offered(token)
    assert (offered.query, every, offered.state) == ("graph transformers", "weekly", "pending")  # looking at it changes nothing
    assert desk.store.subscriptions(store.ACTIVE) == []
    looked: list[str] = []
    started = desk.confirm(token, lambda name: looked.append(name) or 7)
    assert (started.state, started.every, started.look, looked) == ("active", "weekly", 7, [""])
    assert desk.confirm(token, lambda name: 9).look == 7  # twice is once


def test_asking_again_makes_no_second_subscription_and_tells_nothing(desk: Signup) -> None:
    assert desk.ask("ada@example.org", "cats") is None
    desk.confirm(waiting(desk)[0][1], lambda name: 1)
    before = desk.store.subscriptions()
    assert desk.ask("ADA@example.org", " cats ", "weekly") is None  # the same answer as for a stranger
    assert desk.store.subscriptions() == before  # and still daily: only the owner of the address may change it
    [_, (address, token)] = waiting(desk)
    assert address == "ada@example.org"
    assert desk.confirm(token, lambda name: 5).every == "weekly"
    assert [(s.every, s.look) for s in desk.store.subscriptions()] == [("weekly", 1)]
    desk.ask("ada@example.org", "dogs")
    assert len(desk.store.subscriptions()) == 2


def test_a_mailbox_is_not_flooded_and_neither_are_we(desk: Signup, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(6):
        desk.ask("victim@example.org", f"topic {number}", client=f"10.0.0.{number}")
    assert len(waiting(desk)) == signup.A_MAILBOX
    for number in range(signup.A_CLIENT):
        desk.ask(f"a{number}@example.org", client="10.1.1.1")
    with pytest.raises(TooManyError):
        desk.ask("b@example.org", client="10.1.1.1")
    desk.ask("b@example.org", client="10.1.1.2")
    with desk.store.reading() as db:
        kept = str(db.execute("SELECT * FROM signups").fetchall())
    assert "10.1" not in kept and "example" not in kept  # who asked is kept as a keyed hash
    monkeypatch.setattr(signup, "now", lambda: store.now() + signup.HOUR)
    desk.ask("c@example.org", client="10.1.1.1")
    monkeypatch.setattr(signup, "EVERYBODY", 1)
    with pytest.raises(TooManyError):
        desk.ask("d@example.org", client="10.9.9.9")


def test_who_never_confirmed_is_forgotten(desk: Signup, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.ask("ada@example.org")
    desk.ask("bob@example.org")
    desk.confirm(waiting(desk)[1][1], lambda name: 1)
    monkeypatch.setattr(signup, "now", lambda: store.now() + signed.LIFETIME + 1)
    desk.clear()
    assert [s.address for s in desk.store.subscriptions()] == ["bob@example.org"]
    with desk.store.reading() as db:
        assert db.execute("SELECT COUNT(*) FROM signups").fetchone() == (0,)


def test_leaving_deletes_everything_and_can_be_said_twice(desk: Signup) -> None:
    desk.ask("ada@example.org", "cats")
    confirm = waiting(desk)[0][1]
    id = desk.confirm(confirm, lambda name: 1).id
    token = desk.links.unsubscribe(id).rpartition("/")[2]
    assert desk.held(token) is not None and desk.store.subscriptions()  # looking at it changes nothing
    left = desk.leave(token)
    assert left is not None and left.query == "cats"
    assert desk.leave(token) is None
    with desk.store.reading() as db:
        assert [db.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0] for table in ("subscriptions", "spool", "ledger")] == [0, 0, 0]
    assert not any(b"example" in path.read_bytes() for path in desk.store.folder.iterdir())  # not even in what the file has free
    with pytest.raises(LinkError, match="no more"):
        desk.confirm(confirm, lambda name: 1)


def test_links_are_signed_each_for_its_own_use_and_only_confirmations_expire(monkeypatch: pytest.MonkeyPatch) -> None:
    links = Links(KEY)
    confirm, leave = links.confirm("id", "daily").rpartition("/")[2], links.unsubscribe("id").rpartition("/")[2]
    assert links.confirmed(confirm) == ("id", "daily") and links.unsubscribed(leave) == "id"
    other = Links(b"another key, as long as needed")
    said, _, signature = confirm.rpartition(".")  # changed at its start: two bits of its last character say nothing
    forged = f"{said}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}"
    for token in (forged, "X" + confirm, leave, "", "ünïcode", "a.b.c", "." * 9):
        with pytest.raises(LinkError):
            links.confirmed(token)
    for token in (leave[:-2], confirm, ""):
        with pytest.raises(LinkError):
            links.unsubscribed(token)
    with pytest.raises(LinkError):
        other.unsubscribed(leave)
    import itsdangerous.timed

    later = itsdangerous.timed.time.time() + signed.LIFETIME + 2
    monkeypatch.setattr(itsdangerous.timed.time, "time", lambda: later)
    with pytest.raises(LinkError, match="too old"):
        links.confirmed(confirm)
    assert links.unsubscribed(leave) == "id"


def test_the_key_is_made_once_for_its_owner_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(signed.KEY, raising=False)
    monkeypatch.delenv(signed.KEY_FILE, raising=False)
    keys: list[bytes] = []
    threads = [threading.Thread(target=lambda: keys.append(secret(tmp_path))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(keys)) == 1 and len(keys) == 8 and len(keys[0]) == 64
    assert stat.S_IMODE((tmp_path / "digest.key").stat().st_mode) == 0o600 and len(list(tmp_path.iterdir())) == 1
    monkeypatch.setenv(signed.KEY, "short")
    with pytest.raises(DataError, match="16 bytes"):
        secret(tmp_path)
    monkeypatch.delenv(signed.KEY)
    (tmp_path / "mine").write_text("a key of my own making\n")
    monkeypatch.setenv(signed.KEY_FILE, str(tmp_path / "mine"))
    assert secret(tmp_path) == b"a key of my own making"
    monkeypatch.setenv(signed.KEY_FILE, str(tmp_path / "none"))
    with pytest.raises(DataError, match="cannot be read"):
        secret(tmp_path)


def test_the_file_is_for_its_owner_only_and_of_this_schema(tmp_path: Path) -> None:
    kept = Store(tmp_path / "state")
    assert stat.S_IMODE(kept.path.stat().st_mode) == 0o600 and stat.S_IMODE(kept.folder.stat().st_mode) == 0o700
    with kept.changing() as db:
        db.execute("PRAGMA user_version = 9")
    with pytest.raises(DataError, match="update dipole"):
        Store(tmp_path / "state")
    kept.path.write_bytes(b"not a database, " * 100)
    for leftover in ("-wal", "-shm"):
        Path(f"{kept.path}{leftover}").unlink(missing_ok=True)
    with pytest.raises(DataError, match="cannot be used"):
        Store(tmp_path / "state")


def test_a_wrong_frequency_is_refused(desk: Signup) -> None:
    with pytest.raises(UsageError, match="daily or weekly"):
        desk.ask("ada@example.org", every="hourly")
