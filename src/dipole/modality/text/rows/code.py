"""(docstring, body) pairs of the functions in a folder of Python files.

The query is a docstring's first paragraph, the document is the function's source without docstring, its own name written
``_``, so that neither gives the other away. Order and content depend on the files alone.
"""

from __future__ import annotations

import ast
import inspect
import logging
import re
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path

from dipole.core.errors import DataError, UsageError
from dipole.core.made import Made
from dipole.core.part import at_least, choice, part, words

__all__ = ["Code"]
log = logging.getLogger(__name__)

# Tests, installed packages and what only tests or editors need. A folder or module with one of these names is left out.
_SKIPPED = {"test", "tests", "site-packages", "dist-packages", "idle_test", "idlelib", "lib2to3", "turtledemo", "__pycache__", "ensurepip"}


@part
class Code(Made):
    """Rows ``anchor`` (docstring), ``positive`` (code), ``module`` (dotted), ``name`` (dotted), ``file``, ``line``.

    Raises UsageError where the folder is missing, DataError where it holds no documented function. Files that do not
    parse are counted and logged.
    """

    path: str = words("", "a folder of Python files, or one file; empty for the running interpreter's standard library")
    query: str = choice(("paragraph", "whole"), "paragraph", "how much of the docstring asks")
    min_words: int = at_least(0, 3, "shorter queries are left out")
    min_lines: int = at_least(1, 2, "shorter bodies are left out")

    def __post_init__(self) -> None:
        root = Path(self.path or sysconfig.get_paths()["stdlib"]).expanduser()
        if not root.exists():
            raise UsageError(f"{root}: no such folder")
        rows: list[dict[str, object]] = []
        broken = 0
        for file in _files(root):
            try:
                rows.extend(_functions(file, root, self.query == "whole", self.min_words, self.min_lines))
            except (SyntaxError, UnicodeDecodeError, ValueError) as error:
                broken += 1
                log.debug("%s is left out: %s", file, error)
        if broken:
            log.warning("%s: %d files do not parse and are left out", root, broken)
        if not rows:
            raise DataError("no documented function in any Python file", path=root, remedy="give a folder of Python sources")
        self.keep(rows, repr([(r["module"], r["name"], r["anchor"], r["positive"]) for r in rows]).encode())


def _files(root: Path) -> list[Path]:
    if root.is_file():
        return [root]
    found = []
    for file in root.rglob("*.py"):
        parts = file.relative_to(root).with_suffix("").parts
        if not any(p in _SKIPPED or p.startswith(".") for p in parts) and not parts[-1].startswith("test_"):
            found.append(file)
    return sorted(found, key=lambda p: p.relative_to(root).as_posix())


def _functions(file: Path, root: Path, whole: bool, min_words: int, min_lines: int) -> Iterator[dict[str, object]]:
    source = file.read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes in other people's code
        tree = ast.parse(source)
    text = source.decode(_encoding(source)).splitlines()
    parts = list(file.relative_to(root).with_suffix("").parts) if file != root else [file.stem]
    module = ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)
    for function, name in _walk(tree, ""):
        documentation = ast.get_docstring(function, clean=True)
        if not documentation:
            continue
        query = documentation if whole else re.split(r"\n\s*\n", documentation.strip(), maxsplit=1)[0]
        query = " ".join(query.split())
        code = _without_docstring(function, text)
        if len(query.split()) < min_words or len(code) - _header_lines(function) < min_lines:
            continue
        masked = re.sub(rf"\b{re.escape(function.name)}\b", "_", "\n".join(code))
        yield {
            "anchor": query,
            "positive": masked,
            "module": module,
            "name": f"{module}.{name}",
            "file": file.relative_to(root).as_posix() if file != root else file.name,
            "line": function.lineno,
        }


def _walk(node: ast.AST, prefix: str) -> Iterator[tuple[ast.FunctionDef | ast.AsyncFunctionDef, str]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield child, prefix + child.name
            yield from _walk(child, f"{prefix}{child.name}.")
        elif isinstance(child, ast.ClassDef):
            yield from _walk(child, f"{prefix}{child.name}.")
        elif not isinstance(child, ast.expr):  # no function hides in an expression
            yield from _walk(child, prefix)


def _header_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of the signature."""
    return max(1, function.body[0].lineno - function.lineno)


def _without_docstring(function: ast.FunctionDef | ast.AsyncFunctionDef, text: list[str]) -> list[str]:
    """The lines from ``def`` on, docstring and blank lines gone, indentation of the function removed."""
    first = function.body[0]
    dropped = range(first.lineno, (first.end_lineno or first.lineno) + 1)
    kept = [text[n - 1] for n in range(function.lineno, (function.end_lineno or function.lineno) + 1) if n not in dropped]
    return inspect.cleandoc("\n" + "\n".join(line.rstrip() for line in kept if line.strip())).splitlines()


def _encoding(source: bytes) -> str:
    import io
    import tokenize

    return tokenize.detect_encoding(io.BytesIO(source).readline)[0]
