"""Code rows: what is extracted, what is masked, what is left out."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from dipole.core.errors import DataError, UsageError
from dipole.modality.text.rows.code import Code
from dipole.modality.text.rows.lines import Lines

SOURCE = '''
import functools

class Stack:
    """Not a function."""

    def push(self, item):
        """Put an item on top.

        More about it.
        """
        self.items.append(item)

        # then push again? pushed is another word
        return self.push

@functools.cache
def fib(
    n: int,
) -> int:
    "The n-th number of Fibonacci."
    if n < 2:
        return n
    def inner(a):
        """Add one to the argument."""
        a += 1
        return a
    return fib(n - 1) + fib(n - 2)

def short():
    """One line of body is too little."""
    return 1

def silent(x):
    y = x
    return y
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("pkg/a.py", "tests/b.py", "pkg/test_c.py", "lib/site-packages/d.py", ".hidden/e.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(SOURCE)
    (tmp_path / "pkg/__init__.py").write_text('def f(a):\n    """Give it back, twice."""\n    b = a\n    return b, a\n')
    (tmp_path / "broken.py").write_text("def f(:\n")
    (tmp_path / "latin.py").write_bytes(
        b'# -*- coding: latin-1 -*-\ndef g(a):\n    """Say \xe4 or \xf6 aloud."""\n    b = "\xe4"\n    return b\n'
    )
    return tmp_path


def test_pairs_of_a_folder(folder: Path) -> None:
    rows = list(Code(path=str(folder)))
    assert [r["name"] for r in rows] == ["latin.g", "pkg.f", "pkg.a.Stack.push", "pkg.a.fib", "pkg.a.fib.inner"]
    assert [r["module"] for r in rows] == ["latin", "pkg", "pkg.a", "pkg.a", "pkg.a"]
    assert rows[0]["anchor"] == "Say ä or ö aloud."
    push = rows[2]
    assert push["anchor"] == "Put an item on top."
    assert push["positive"] == (
        "def _(self, item):\n    self.items.append(item)\n    # then _ again? pushed is another word\n    return self._"
    )
    fib = rows[3]
    assert fib["positive"].startswith("def _(\n    n: int,\n) -> int:\n    if n < 2:")
    assert fib["positive"].endswith("return _(n - 1) + _(n - 2)")
    assert "Fibonacci" not in fib["positive"]
    assert (fib["file"], fib["line"]) == ("pkg/a.py", 18)
    whole = list(Code(path=str(folder), query="whole"))
    assert whole[2]["anchor"] == "Put an item on top. More about it."


def test_order_and_fingerprint_depend_on_content_alone(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    for path in reversed(sorted(folder.rglob("*.py"))):
        place = other / path.relative_to(folder)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(path.read_bytes())
    first, second = Code(path=str(folder)), Code(path=str(other))
    assert list(first) == list(second)
    assert first.fingerprint == second.fingerprint
    assert Code(path=str(folder), query="whole").fingerprint != first.fingerprint


def test_a_single_file_and_bad_places(folder: Path) -> None:
    assert len(Code(path=str(folder / "pkg" / "a.py"))) == 3
    with pytest.raises(UsageError, match="no such folder"):
        Code(path=str(folder / "nowhere"))
    (folder / "none").mkdir()
    with pytest.raises(DataError, match="no documented function"):
        Code(path=str(folder / "none"))


def test_the_standard_library_of_this_interpreter() -> None:
    rows = list(Code())
    assert 2_500 < len(rows) < 8_000
    modules = {str(r["module"]) for r in rows}
    assert {"json", "textwrap", "collections"} <= modules
    assert not {m for m in modules if "test" in m.split(".") or m.startswith(("idlelib", "lib2to3", "site-packages"))}
    for row in rows[::50]:
        assert str(row["name"]).rsplit(".", 1)[-1] not in str(row["positive"]).split("(")[0]
        tree = ast.parse(str(row["positive"]))
        assert isinstance(tree.body[0], ast.FunctionDef | ast.AsyncFunctionDef)
        assert tree.body[0].name == "_"


def test_lines(tmp_path: Path) -> None:
    (tmp_path / "wiki.any").write_text("one\n\ntwo, three\n")
    rows = Lines(path=str(tmp_path / "wiki.any"))
    assert list(rows) == [{"anchor": "one"}, {"anchor": "two, three"}] == [rows[0], rows[1]]
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.txt").write_text("x\n")
    assert [r["anchor"] for r in Lines(path=str(tmp_path / "folder"))] == ["x"]
