"""Plain files: Markdown, text and Python, whole; PDF by pypdf. The id is the path from where the reading began."""

from __future__ import annotations

import datetime
import logging
import re
import warnings
from pathlib import Path
from typing import Any

from dipole.core.extras import need
from dipole.search.documents import Document, document_of
from dipole.search.sources.refused import Refused

_LEAST = 20  # characters of a PDF's text below which it is taken for scanned pages
_FRONT, _DEEP = 1_000_000, 50  # characters of front matter, and its lists in lists, at most


def markdown(path: Path, id: str) -> Document | Refused:
    """Front matter (YAML between ``---`` lines) gives fields; the title is its own, the first heading, or the file's name."""
    text = _text(path)
    if isinstance(text, Refused):
        return text
    fields: dict[str, Any] = {}
    if front := re.match(r"---\s*\n(.*?)\n---\s*(?:\n|$)", text, re.DOTALL):
        yaml = need("yaml", "ingest", "front matter of Markdown")
        try:
            said = _written_out(yaml.safe_load(front[1]), [_FRONT])
        except (yaml.YAMLError, TypeError, ValueError, RecursionError) as error:
            return Refused(f"{path}:1", f"the front matter is not valid YAML: {' '.join(str(error).split())}")
        if isinstance(said, dict):  # anything else is a text between two rules
            fields, text = {name: value for name, value in said.items() if name not in ("id", "text")}, text[front.end() :]
    heading = re.search(r"^#\s+(.+?)\s*#*\s*$", text, re.MULTILINE)
    fields["title"] = fields.get("title") or (heading[1] if heading else path.stem)
    return _made(path, id, text, fields)


def plain(path: Path, id: str) -> Document | Refused:
    """Title: the file's name."""
    text = _text(path)
    return text if isinstance(text, Refused) else _made(path, id, text, {"title": path.name})


def python(path: Path, id: str) -> Document | Refused:
    """The module's source. Title: the path. The first line of its docstring is kept as ``summary``."""
    import ast

    text = _text(path)
    if isinstance(text, Refused):
        return text
    try:
        with warnings.catch_warnings():  # about the style of what is read
            warnings.simplefilter("ignore")
            said = ast.get_docstring(ast.parse(text)) or ""
    except (SyntaxError, ValueError) as error:
        return Refused(f"{path}:{getattr(error, 'lineno', None) or 1}", f"not valid Python: {error.args[0]}")
    except (RecursionError, MemoryError):
        return Refused(str(path), "not valid Python: nested too deep")
    return _made(path, id, text, {"title": id, **({"summary": said.splitlines()[0]} if said else {})})


def pdf(path: Path, id: str) -> Document | Refused:
    """Text of all pages. Scanned, encrypted and broken files are refused."""
    pypdf = need("pypdf", "ingest", "PDF files")
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # it logs, without the file's name, what is told here with it
    try:
        reader = pypdf.PdfReader(path, strict=False)
        if reader.is_encrypted and not reader.decrypt(""):
            return Refused(str(path), "the PDF is encrypted")
        text = "\n\n".join((page.extract_text() or "").strip() for page in reader.pages).strip()
        about, pages = reader.metadata, len(reader.pages)
    except Exception as error:  # broken files make pypdf raise all kinds, IndexError and RecursionError among them
        return Refused(str(path), f"the PDF cannot be read: {type(error).__name__}: {error}")
    if len(text) < _LEAST:
        return Refused(str(path), "the PDF holds no text (scanned pages?); run it through OCR first")
    title, author, made = (_said(about, name) for name in ("title", "author", "creation_date"))
    day = made.date() if isinstance(made, datetime.datetime) else None
    return _made(path, id, text, {"title": str(title or "").strip() or path.stem, "authors": author, "date": day, "pages": pages})


def _said(about: Any, name: str) -> Any:
    """What a PDF says about itself, None where that cannot be read: a wrong day is no reason to lose the text."""
    try:
        return getattr(about, name)
    except Exception:  # as above
        return None


def _text(path: Path) -> str | Refused:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return Refused(str(path), f"the bytes are not UTF-8 from byte {error.start} on; convert it: iconv -f latin1 -t utf-8")


def _made(path: Path, id: str, text: str, fields: dict[str, Any]) -> Document | Refused:
    if not text.strip():
        return Refused(str(path), "the file holds no text")
    try:
        return document_of(id, text.strip(), fields)
    except ValueError as error:
        return Refused(str(path), str(error))


def _written_out(value: Any, left: list[int], depth: int = 0) -> Any:
    """YAML as JSON can hold it, its aliases written out. Raises ValueError where that would take more than ``left`` characters."""
    left[0] -= 1 + (len(value) if isinstance(value, str) else 0)
    if left[0] < 0 or depth > _DEEP:
        raise ValueError("its aliases, written out, are without end or too much")
    if isinstance(value, dict):
        return {str(name): _written_out(one, left, depth + 1) for name, one in value.items()}
    if isinstance(value, (list, tuple, set)):
        several = sorted(value, key=str) if isinstance(value, set) else value
        return [_written_out(one, left, depth + 1) for one in several]
    plain = isinstance(value, (str, int, float)) or value is None or (isinstance(value, datetime.date) and depth < 2)
    return value if plain else str(value)
