"""Votes, saved and read: counted once, by many at once, and there after a kill; cookies and tokens that nobody can make up."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dipole.core.errors import DataError, UnknownNameError, UsageError
from dipole.search.documents import Document
from dipole.serve import state as states
from dipole.serve.state import State
from dipole.serve.visitor import Visitors, secret_in
from tests.serving import asking, shelved


def test_a_vote_counts_once_and_can_be_taken_back(tmp_path: Path) -> None:
    state = State(tmp_path)
    assert [state.mark("ann", "c", "x", "vote", on) for on in (True, True, False, False, True)] == [1, 1, 0, 0, 1]
    assert state.mark("bob", "c", "x", "vote", True) == 2
    assert state.mark("bob", "other", "x", "vote", True) == 1  # another collection's document of that id
    assert state.votes("c") == {"x": 2} and state.votes("nobody's") == {}
    state.mark("bob", "c", "y", "vote", True)
    state.mark("bob", "c", "y", "vote", False)
    assert state.votes("c") == {"x": 2}


def test_marks_are_the_visitors_own_and_come_latest_first(tmp_path: Path) -> None:
    state = State(tmp_path)
    for document in ("a", "b", "it's; DROP TABLE marks"):
        state.mark("ann", "c", document, "save", True)
        time.sleep(0.002)
    state.mark("ann", "c", "a", "read", True)
    state.mark("bob", "c", "b", "read", True)
    assert State(tmp_path).marked("ann", "c", "save") == ["it's; DROP TABLE marks", "b", "a"]
    assert state.marks("ann", "c", ["a", "b", "z"]) == {"a": {"save", "read"}, "b": {"save"}}
    assert state.marks("", "c", ["a"]) == {} and state.marked("bob", "c", "save") == []
    with pytest.raises(UnknownNameError, match="unknown mark 'like'"):
        state.mark("ann", "c", "a", "like", True)


def test_forgetting_takes_votes_back_and_leaves_others(tmp_path: Path) -> None:
    state = State(tmp_path)
    for who in ("ann", "bob"):
        for kind in states.KINDS:
            state.mark(who, "c", "a", kind, True)
    assert state.forget("ann") == 3 and state.forget("ann") == 0
    assert state.votes("c") == {"a": 1} and state.marks("ann", "c", ["a"]) == {} and state.marked("bob", "c", "read") == ["a"]


def test_a_visitor_cannot_fill_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(states, "MOST_MARKS", 2)
    state = State(tmp_path)
    state.mark("ann", "c", "a", "vote", True)
    state.mark("ann", "c", "b", "vote", True)
    with pytest.raises(UsageError, match="2 times"):
        state.mark("ann", "c", "d", "vote", True)
    assert state.mark("ann", "c", "a", "vote", False) == 0 and state.votes("c") == {"b": 1}


def test_many_at_once_lose_no_vote(tmp_path: Path) -> None:
    state = State(tmp_path)

    def vote(number: int) -> int:
        return state.mark(f"v{number % 40}", "c", f"d{number % 3}", "vote", True)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(vote, range(240)))  # each of 40 visitors votes for each of 3 documents, twice
    assert state.votes("c") == {"d0": 40, "d1": 40, "d2": 40}


KILLED = """
import sys
from pathlib import Path
from dipole.serve.state import State
state = State(Path(sys.argv[1]))
for number in range(100_000):
    state.mark(f"v{number}", "c", "d", "vote", True)
    print(number + 1, flush=True)
"""


def test_what_was_answered_survives_a_kill(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    told = [int(process.stdout.readline()) for _ in range(30)]
    os.kill(process.pid, signal.SIGKILL)
    told += [int(line) for line in process.stdout]
    process.wait()
    process.stdout.close()
    kept = State(tmp_path).votes("c")["d"]
    assert kept in (told[-1], told[-1] + 1)  # the last may have been written and not yet told
    with sqlite3.connect(tmp_path / "page.sqlite") as base:
        marks = base.execute("SELECT count(*) FROM marks").fetchone()[0]
        assert base.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    base.close()
    assert marks == kept  # a mark and its tally are one transaction


def test_a_damaged_or_newer_file_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "page.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(DataError, match=r"page\.sqlite.*move it away"):
        State(tmp_path)
    (tmp_path / "page.sqlite").unlink()
    State(tmp_path)
    base = sqlite3.connect(tmp_path / "page.sqlite")
    base.execute("PRAGMA user_version = 9")
    base.close()
    with pytest.raises(DataError, match="update dipole"):
        State(tmp_path)


def test_cookies_and_tokens_cannot_be_made_up(tmp_path: Path) -> None:
    visitors, others = Visitors(secret_in(tmp_path)), Visitors("another secret of more than enough letters")
    ann, bob = visitors.new(), visitors.new()
    assert ann != bob and visitors.known(visitors.cookie(ann)) == ann
    for forged in ("", ann, others.cookie(ann), visitors.cookie(ann)[:-1] + "!", "x" * 300, "ä.b"):
        assert visitors.known(forged) == ""
    assert visitors.genuine(ann, visitors.token(ann))
    for forged in ("", visitors.token(bob), others.token(ann), visitors.cookie(ann).rpartition(".")[2], "ä"):
        assert not visitors.genuine(ann, forged)
    assert not visitors.genuine("", visitors.token(""))


def test_the_secret_is_drawn_once_and_is_the_owners_alone(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: secret_in(tmp_path), range(16)))) == 1
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]
    (tmp_path / "secret").write_text("short")
    with pytest.raises(DataError, match="at least 32 characters"):
        secret_in(tmp_path)


def test_what_the_file_refuses_is_told_in_words_by_the_guarded_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = shelved(tmp_path / "papers", [Document("a", "one text")])
    page = {"Accept": "text/html"}
    with asking(folder) as client:
        form = {"token": re.findall(r'name="token" value="([^"]+)"', client.get("/", headers=page).text)[0], "id": "a", "do": "vote"}
        monkeypatch.setattr(states, "MOST_MARKS", 0)
        refused = client.post("/mark", data=form, headers=page)
        assert refused.status_code == 400 and "take some back" in refused.text
        monkeypatch.undo()
        for file in (folder / "state").glob("page.sqlite*"):
            file.write_bytes(b"no database" * 1000)
        for path, media in (("/", "text/html"), ("/items", "application/problem+json")):
            failed = client.get(path, headers={"Accept": media})
            assert failed.status_code == 500 and media in failed.headers["content-type"] and str(tmp_path) not in failed.text
            assert "content-security-policy" in failed.headers
        assert client.post("/mark", data=form, headers=page).status_code == 500
