"""RSS, Atom, arXiv's XML (its API's Atom, and OAI-PMH records), and OPML, which lists feeds.

The text is the summary or content without markup, or the title; the id is the entry's own (guid, id, arXiv number), else
its link. An OPML entry becomes a document of its own: title, description, the feed's address; nothing is fetched.
"""

from __future__ import annotations

import datetime
import html
import re
from pathlib import Path
from typing import Any

from dipole.core.extras import need
from dipole.search.documents import Document
from dipole.search.sources.names import content_id
from dipole.search.sources.refused import Found, Refused

_TAG = re.compile(  # as HTML writes it; in "x<y and z>w" there is none
    r"""<!--(?:.*?-->|.*)|</?(?:[abipqsu]|[a-z][a-z0-9:]+)(?:\s+[a-z_:][\w:.-]*\s*=\s*(?:"[^"]*"|'[^']*'|[^\s"'<>]+))*\s*/?>""",
    re.IGNORECASE | re.DOTALL,
)
_ARXIV = re.compile(r"arxiv\.org/abs/([^\s]+?)(v\d+)?$", re.IGNORECASE)


def read(path: Path) -> Found:
    """What kind of XML it is, its root says."""
    tree = need("defusedxml.ElementTree", "ingest", "feeds")
    raw = path.read_bytes()
    try:
        root = tree.fromstring(raw)
    except Exception as error:  # ParseError, and what defusedxml forbids (entities, external references)
        yield Refused(str(path), f"not well-formed XML, or XML that is not safe to read: {error}")
        return
    kind = _local(root.tag)
    if kind == "opml":
        yield from _opml(root, path)
    elif kind == "OAI-PMH":
        yield from _oai(root, path)
    elif kind in ("rss", "RDF", "feed"):
        yield from _feed(raw, path)
    else:
        yield Refused(str(path), f"XML whose root is <{kind}>; known are rss, feed (Atom), RDF, OAI-PMH and opml")


def _feed(raw: bytes, path: Path) -> Found:
    found = need("feedparser", "ingest", "feeds").parse(raw, sanitize_html=True, resolve_relative_uris=False)
    for number, entry in enumerate(found.entries, 1):
        title, link = plain(entry.get("title", "")), entry.get("link", "")
        contents = [c.get("value", "") for c in entry.get("content", [])]
        text = plain(max([entry.get("summary", ""), *contents], key=len)) or title
        if not text:
            yield Refused(f"{path}: entry {number}", "neither a title nor a text")
            continue
        own = entry.get("id") or link
        arxiv = _ARXIV.search(own) or _ARXIV.search(link)
        authors = tuple(a.get("name", "").strip() for a in entry.get("authors", []) if a.get("name", "").strip())
        when = entry.get("published_parsed") or entry.get("updated_parsed")
        tags = tuple(dict.fromkeys(t["term"] for t in entry.get("tags", []) if t.get("term")))
        more = {"arxiv": arxiv[1]} if arxiv else {}
        more |= {name: entry[key] for name, key in (("comment", "arxiv_comment"), ("doi", "arxiv_doi")) if entry.get(key)}
        try:
            day = datetime.date(*when[:3]) if when else None
        except ValueError:  # the year 0 and others that no calendar has
            day = None
        link = link if "://" in link else ""  # without one, feedparser gives the id
        yield Document(arxiv[1] if arxiv else own or content_id(title, text), text, more, title, authors, day, link, 0, tags)


def _oai(root: Any, path: Path) -> Found:
    for number, record in enumerate(_all(root, "record"), 1):
        body = next(iter(_all(record, "arXiv")), None)
        if body is None:
            body = next(iter(_all(record, "dc")), None)
        if body is None:
            deleted = any(header.get("status") == "deleted" for header in _all(record, "header"))
            yield Refused(f"{path}: record {number}", "deleted at its source" if deleted else "neither arXiv nor Dublin Core metadata")
            continue
        texts = {name: [plain(e.text or "") for e in _all(body, name)] for name in ("id", "title", "abstract", "description", "identifier")}
        title = next(iter(texts["title"]), "")
        text = next(iter(texts["abstract"] or texts["description"]), "") or title
        if not text:
            yield Refused(f"{path}: record {number}", "neither a title nor an abstract")
            continue
        id = next(iter(texts["id"] or texts["identifier"]), "") or content_id(title, text)
        authors = tuple(" ".join(w for w in (_text(a, "forenames"), _text(a, "keyname")) if w) for a in _all(body, "author"))
        authors = authors or tuple(plain(e.text or "") for e in _all(body, "creator"))
        created = _text(body, "created") or _text(body, "date")
        tags = tuple(_text(body, "categories").split()) or tuple(
            dict.fromkeys(plain(e.text or "") for e in _all(body, "subject") if e.text)
        )
        address = f"https://arxiv.org/abs/{id}" if texts["id"] else next((i for i in texts["identifier"] if i.startswith("http")), "")
        try:
            day = datetime.date.fromisoformat(created[:10]) if created else None
        except ValueError:
            day = None
        yield Document(id, text, {"arxiv": id} if texts["id"] else {}, title, authors, day, address, 0, tags)


def _opml(root: Any, path: Path) -> Found:
    for number, outline in enumerate(_all(root, "outline"), 1):
        address = outline.get("xmlUrl") or outline.get("url") or outline.get("htmlUrl") or ""
        title = plain(outline.get("title") or outline.get("text") or "")
        if not address:
            continue  # a heading
        if not title:
            yield Refused(f"{path}: outline {number}", "a feed without a title")
            continue
        tags = tuple(t for t in (outline.get("category") or "").strip("/").split(",") if t)
        yield Document(address, plain(outline.get("description") or "") or title, {"feed": True}, title, (), None, address, 0, tags)


def plain(text: str) -> str:
    """Without markup, entities and repeated white space."""
    return re.sub(r"\s+", " ", html.unescape(_TAG.sub(" ", text))).strip()


def _local(tag: str) -> str:
    return tag.rsplit("}", 1)[-1]


def _all(element: Any, name: str) -> list[Any]:
    return [e for e in element.iter() if isinstance(e.tag, str) and _local(e.tag) == name]


def _text(element: Any, name: str) -> str:
    return next((plain(e.text or "") for e in _all(element, name)), "")
