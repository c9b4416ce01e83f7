"""The mails: a digest, and the one that asks for confirmation. Text and HTML, dated, everything from outside escaped.

What a digest says depends on the subscription, the period and the documents alone, and so does its Message-ID: composed again it is
the same mail, which servers and readers that see it twice can tell.
"""

from __future__ import annotations

import datetime
import functools
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from email.header import Header
from email.headerregistry import BaseHeader, HeaderRegistry, UnstructuredHeader
from email.message import EmailMessage
from email.policy import SMTP, Policy
from email.utils import format_datetime
from importlib import resources
from typing import Any
from urllib.parse import urlencode, urlsplit

from dipole.core.addresses import web_address
from dipole.core.extras import need
from dipole.digest.line import one_line
from dipole.digest.links import LIFETIME, Links
from dipole.digest.settings import MailSettings
from dipole.digest.store import ACTIVE, Subscription
from dipole.search.documents import Document

_TEXT = 400  # characters of a document's text
_TITLE = 100  # and of it where a document has no title
_NAMES = 6  # authors named
_SUBJECT = 80  # characters of a query in a subject


class _AsItIs(UnstructuredHeader, BaseHeader):
    """A header of links. Folded, a long one would become an encoded word, which mail readers do not look for a link in."""

    def fold(self, *, policy: Policy) -> str:
        return f"{self.name}: {self}{policy.linesep}"


class _Words(UnstructuredHeader, BaseHeader):
    """A subject, read and written as it is. The library's own class decodes what looks encoded in it, and its folding loses spaces
    between words that are encoded and words that are not.
    """

    @classmethod
    def parse(cls, value: str, kwds: dict[str, Any]) -> None:
        super().parse(value, kwds)
        kwds["decoded"] = value

    def fold(self, *, policy: Policy) -> str:
        charset = "us-ascii" if self.isascii() and "=?" not in self else "utf-8"
        return f"{self.name}: {Header(str(self), charset, header_name=self.name).encode(linesep=policy.linesep)}{policy.linesep}"


_HEADERS = HeaderRegistry()
_HEADERS.map_to_type("subject", _Words)
for _name in ("list-id", "list-unsubscribe", "list-unsubscribe-post"):
    _HEADERS.map_to_type(_name, _AsItIs)
WIRE = SMTP.clone(cte_type="7bit", header_factory=_HEADERS)  # what every server takes


@dataclass(frozen=True)
class Digest:
    """What one subscriber gets in one period. ``why``: beside each document, in words; ``more`` were near too but did not fit."""

    subscription: Subscription
    period: str
    day: datetime.date
    documents: Sequence[Document]
    why: Sequence[str]
    more: int = 0
    note: str = ""

    @property
    def content(self) -> str:
        """sha256 of the documents' ids and contents: equal content, equal mail."""
        return hashlib.sha256(json.dumps([[d.id, d.hash] for d in self.documents]).encode()).hexdigest()


def digest_message(digest: Digest, settings: MailSettings, links: Links, moment: datetime.datetime) -> EmailMessage:
    """The digest as a mail. One click, or one POST by the reader's program (RFC 8058), unsubscribes."""
    leave = links.unsubscribe(digest.subscription.id)
    one, topic = len(digest.documents) == 1, _short(digest.subscription.topic, _SUBJECT)
    what = f"trending, {'one is' if one else f'{len(digest.documents)} are'} new"
    if digest.subscription.query:
        what = f"{'One' if one else len(digest.documents)} new near {topic}"
    message = _begun(settings, digest.subscription, f"{what[0].upper()}{what[1:]} · {digest.day.isoformat()}", moment)
    unique = hashlib.sha256(json.dumps([digest.subscription.id, digest.period, digest.content]).encode()).hexdigest()[:32]
    message["Message-ID"] = f"<{unique}@{_domain(settings)}>"
    message["List-ID"] = f"<digest.{_domain(settings)}>"
    message["List-Unsubscribe"] = f"<{leave}>"
    if leave.startswith("https:"):  # RFC 8058, 3.1: no other address is one that a mail reader's server may post to
        message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    entries = [
        {
            "title": one_line(d.title) or _short(one_line(d.text), _TITLE),
            "text": _short(one_line(d.text), _TEXT) if one_line(d.title) or len(one_line(d.text)) > _TITLE else "",
            "authors": ", ".join(map(one_line, d.authors[:_NAMES]))
            + (f" and {len(d.authors) - _NAMES} more" if len(d.authors) > _NAMES else ""),
            "date": d.date.isoformat() if d.date else "",
            "page": page_of(links.base_url, d.id, digest.subscription.collection),
            "source": "" if set(d.url) & set(' \r\n\t<>"') else web_address(d.url),
            "why": why,
        }
        for d, why in zip(digest.documents, digest.why, strict=True)
    ]
    found = search_of(links.base_url, digest.subscription)
    glance = _short(" · ".join(entry["title"] for entry in entries), _TEXT)
    heading = f"New near {digest.subscription.topic}" if digest.subscription.query else "Trending"
    site = urlsplit(links.base_url).netloc
    return _written(message, "digest", digest=digest, heading=heading, site=site, glance=glance, entries=entries, leave=leave, found=found)


def confirmation_message(
    subscription: Subscription, every: str, settings: MailSettings, links: Links, moment: datetime.datetime
) -> EmailMessage:
    """Asks the owner of an address whether it was they who subscribed; says so where they already are."""
    held = subscription.state == ACTIVE and subscription.every == every
    subject = "You are already subscribed to" if held else "Confirm your subscription to"
    message = _begun(settings, subscription, f"{subject} {_short(subscription.topic, _SUBJECT)}", moment)
    message["Message-ID"] = f"<{hashlib.sha256(f'{subscription.id} {moment.timestamp()}'.encode()).hexdigest()[:32]}@{_domain(settings)}>"
    values = {"confirm": links.confirm(subscription.id, every), "leave": links.unsubscribe(subscription.id)}
    days = max(1, round((links.lifetime or LIFETIME) / 86400))
    return _written(message, "confirm", topic=subscription.topic, every=every, held=held, site=links.base_url, days=days, **values)


def page_of(base_url: str, id: str, collection: str = "") -> str:
    """The address of a document's page.

    >>> page_of("https://papers.example.org", "arxiv:2406/1", "ml")
    'https://papers.example.org/item?id=arxiv%3A2406%2F1&collection=ml'
    """
    return f"{base_url}/item?{urlencode({'id': id} | ({'collection': collection} if collection else {}))}"


def search_of(base_url: str, subscription: Subscription) -> str:
    """The address of the page that shows what a subscription is about."""
    asked = {"q": subscription.query} if subscription.query else {}
    asked |= {"collection": subscription.collection} if subscription.collection else {}
    return f"{base_url}/{'find' if subscription.query else 'trending'}{f'?{urlencode(asked)}' if asked else ''}"


def _begun(settings: MailSettings, subscription: Subscription, subject: str, moment: datetime.datetime) -> EmailMessage:
    message = EmailMessage(policy=WIRE)
    message["From"] = settings.sender
    message["To"] = subscription.address
    message["Subject"] = subject
    message["Date"] = format_datetime(moment)
    message["Auto-Submitted"] = "auto-generated"
    return message


def _written(message: EmailMessage, name: str, **values: Any) -> EmailMessage:
    message.set_content(_template(f"{name}.txt").render(values).strip() + "\n")
    message.add_alternative(_template(f"{name}.html").render(values), subtype="html")
    if message.is_multipart():  # a boundary that is the same each time
        message.set_boundary(hashlib.sha256(str(message["Message-ID"]).encode()).hexdigest()[:32])
    return message


@functools.cache
def _template(name: str) -> Any:
    jinja = need("jinja2", "serve", "a mail")
    folder = resources.files("dipole.digest").joinpath("templates")
    loader = jinja.FunctionLoader(lambda asked: folder.joinpath(f"{asked}.jinja").read_text(encoding="utf-8"))
    environment = jinja.Environment(
        loader=loader, autoescape=name.endswith(".html"), undefined=jinja.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(name)


def _domain(settings: MailSettings) -> str:
    return settings.address.rpartition("@")[2]


def _short(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    cut = text[: limit - 1]
    return f"{cut.rpartition(' ')[0] or cut}…"
