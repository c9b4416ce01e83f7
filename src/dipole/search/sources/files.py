"""Plain files: Markdown, text and Python, whole; PDF by pypdf. The id is the path from where the reading began."""

from __future__ import annotations

import datetime
import re
from pathlib import Path
from typing import Any

from dipole.core.extras import need
from dipole.search.documents import Document, document_of
from dipole.search.sources.refused import Refused

_LEAST = 20  # characters of a PDF's text below which it is taken for scanned pages


def markdown(path: Path, id: str) -> Document | Refused:
    """Front matter (YAML between ``---`` lines) gives fields; the title is its own, the first heading, or the file's name."""
    text = _text(path)
    if isinstance(text, Refused):
        return text
    fields: dict[str, Any] = {}
    front = re.match(r"---\s*\n(.*?)\n---\s*(?:\n|$)", text, re.DOTALL)
    if front:
        yaml = need("yaml", "ingest", "front matter of Markdown")
        try:
            fields = dict(yaml.safe_load(front[1]) or {})
        except (yaml.YAMLError, TypeError, ValueError) as error:
            return Refused(f"{path}:1", f"the front matter is not valid YAML: {' '.join(str(error).split())}")
        text = text[front.end() :]
    heading = re.search(r"^#\s+(.+?)\s*#*\s*$", text, re.MULTILINE)
    fields = {str(k): v for k, v in fields.items() if k not in ("id", "text")}
    fields.setdefault("title", heading[1] if heading else path.stem)
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
        said = ast.get_docstring(ast.parse(text)) or ""
    except (SyntaxError, ValueError) as error:
        return Refused(f"{path}:{getattr(error, 'lineno', None) or 1}", f"not valid Python: {error.args[0]}")
    return _made(path, id, text, {"title": id, **({"summary": said.splitlines()[0]} if said else {})})


def pdf(path: Path, id: str) -> Document | Refused:
    """Text of all pages. Scanned, encrypted and broken files are refused."""
    pypdf = need("pypdf", "ingest", "PDF files")
    try:
        reader = pypdf.PdfReader(path, strict=False)
        if reader.is_encrypted and not reader.decrypt(""):
            return Refused(str(path), "the PDF is encrypted")
        text = "\n\n".join((page.extract_text() or "").strip() for page in reader.pages).strip()
        about = reader.metadata or {}
    except Exception as error:  # broken files make pypdf raise all kinds, IndexError and RecursionError among them
        return Refused(str(path), f"the PDF cannot be read: {type(error).__name__}: {error}")
    if len(text) < _LEAST:
        return Refused(str(path), "the PDF holds no text (scanned pages?); run it through OCR first")
    fields = {"title": str(about.get("/Title") or "").strip() or path.stem, "pages": len(reader.pages)}
    author = str(about.get("/Author") or "").strip()
    made = about.creation_date if hasattr(about, "creation_date") and about.get("/CreationDate") else None
    return _made(path, id, text, {**fields, **({"authors": author} if author else {}), **_dated(made)})


def _dated(made: Any) -> dict[str, Any]:
    return {"date": made.date()} if isinstance(made, datetime.datetime) else {}


def _text(path: Path) -> str | Refused:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return Refused(str(path), f"the bytes are not UTF-8 from byte {error.start} on; convert it: iconv -f latin1 -t utf-8")


def _made(path: Path, id: str, text: str, fields: dict[str, Any]) -> Document | Refused:
    if not text.strip():
        return Refused(str(path), "the file holds no text")
    try:
        return document_of(id, text.strip(), {k: _kept(v) for k, v in fields.items()})
    except ValueError as error:
        return Refused(str(path), str(error))


def _kept(value: Any) -> Any:
    """Dates inside lists and tables as texts, since metadata is what JSON can hold."""
    if isinstance(value, (datetime.date, str, int, float, bool)) or value is None:
        return value
    if isinstance(value, (list, tuple)):
        return [str(v) if isinstance(v, datetime.date) else _kept(v) for v in value]
    return str(value)
