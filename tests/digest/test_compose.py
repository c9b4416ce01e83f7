"""What a mail looks like to programs and people: subjects, what lists show, what may be long, foreign or unseen."""

from __future__ import annotations

import datetime
import email
import email.policy
import random
from dataclasses import replace
from email.message import EmailMessage

import pytest

from dipole.digest.address import AddressError, cleaned
from dipole.digest.compose import WIRE, Digest, confirmation_message, digest_message
from dipole.digest.line import one_line
from dipole.digest.links import Links
from dipole.digest.settings import MailSettings
from dipole.digest.store import Subscription
from dipole.search.documents import Document

pytest.importorskip("jinja2")
MOMENT = datetime.datetime(2026, 11, 23, 6, tzinfo=datetime.UTC)
SETTINGS = MailSettings("Papers <papers@example.org>", "https://papers.example.org", "127.0.0.1", security="none").checked()


def sent(query: str, documents: list[Document], base_url: str = SETTINGS.base_url) -> EmailMessage:
    """A digest as it arrives."""
    one = Subscription("a" * 24, "ada@example.org", "", query, "daily", "active", 0.0, 0.0, 1, 0)
    digest = Digest(one, "2026-11-23", MOMENT.date(), documents, [""] * len(documents))
    return arrived(digest_message(digest, SETTINGS, Links(b"k" * 32, base_url), MOMENT))


def arrived(message: EmailMessage) -> EmailMessage:
    got = email.message_from_bytes(message.as_bytes(policy=WIRE), policy=email.policy.default)
    assert isinstance(got, EmailMessage)
    return got


def test_a_subject_arrives_as_it_was_written() -> None:
    """Whatever words stand beside each other; also those that look encoded, which must not be read as what they hide."""
    chance = random.Random(0)
    words = [
        "graph",
        "how do",
        "Größe",
        "大规模模型",
        "“x”",
        "😀",
        "naïve",
        "a,b",
        "?=",
        "verylong" * 9,
        "=?utf-8?q?a=0D=0ABcc:_eve@example.org?=",
    ]
    for _ in range(150):
        query = " ".join(chance.choice(words) for _ in range(chance.randint(1, 12)))[:70].strip()
        got = sent(query, [Document("1", "text")])
        assert got["Subject"] == f"One new near “{query}” · 2026-11-23" and "Bcc" not in got
        assert all(len(line) <= 998 and line.isascii() for line in got.as_bytes(policy=WIRE).splitlines())


def test_what_cannot_be_seen_goes_and_what_spells_a_word_stays() -> None:
    persian, family = "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "\U0001f469\u200d\U0001f4bb"
    for text in (persian, family):
        assert one_line(text) == cleaned(f"cats {text}").removeprefix("cats ") == text
    assert one_line("trans\u00adformers\u202e \ufeffand\u2028graphs\x00\r\n") == "transformers and graphs"
    text = sent("cats", [Document("1", "about", title=f"soft\u00adhyphens, {persian}")]).get_body(("plain",))
    assert text is not None and f"1. softhyphens, {persian}" in text.get_content()


def test_strangers_cannot_have_their_links_mailed() -> None:
    """The mail that asks for confirmation goes to any address that anybody types."""
    plain = ("you won, see https://evil.example/x", "WWW.evil.example has it", "x://y")
    bare = (
        "log in at evil.example/login",
        "evil.example:8080/x",
        "xn--evl-kja.example/",
        "evil.example./x",
        "evil\uff0eexample\uff0fx",
        "böse.例え/x",
    )
    mail = ("mailto:a@evil.com", "write to a@evil.com", "<a.b@evil.co.uk>", "MAILTO:eve", "a\uff20evil.com")
    for query in plain + bare + mail:
        with pytest.raises(AddressError, match="leave out web and e-mail addresses"):
            cleaned(query)
    for query in (
        "node.js and recall@10, e.g. of www servers",
        "v2.0, e.g. and/or i.e./viz. a rating of 3.5/4 or 1.0/2.0",
        "mAP@0.5, hits@k. TCP/IP in the U.S./EU, Ph.D./MSc, km/h etc.",
    ):
        assert cleaned(query) == query


def test_one_click_is_offered_where_it_can_work() -> None:
    """RFC 8058, 3.1: the address to post to is an https one."""
    assert sent("cats", [Document("1", "x")])["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    plain = sent("cats", [Document("1", "x")], "http://papers.example.org")
    assert plain["List-Unsubscribe-Post"] is None and plain["List-Unsubscribe"].startswith("<http://papers.example.org/unsubscribe/")


def test_a_document_without_a_title_has_its_text_and_nothing_is_said_of_no_votes() -> None:
    long = "rates of false negatives " * 10
    got = sent("", [Document("1", long), Document("2", "short"), Document("3", "body", title="Third")])
    text = " ".join(got.get_body(("plain",)).get_content().split())
    assert long.strip() in text and text.count("short") == 1
    html = got.get_body(("html",)).get_content()
    first = html.partition("<body")[2].partition("<h1")[0]
    assert "Third" in first and "short" in first  # what lists of mails show after the subject
    assert '<p class="quiet" style="margin:0;color:#5b616b;font-size:13px"></p>' not in html


def test_the_page_to_confirm_is_one_button_away() -> None:
    one = Subscription("a" * 24, "ada@example.org", "", "cats", "daily", "pending", 0.0, None, 0, 0)
    message = arrived(confirmation_message(one, "daily", SETTINGS, Links(b"k" * 32, SETTINGS.base_url), MOMENT))
    html = message.get_body(("html",)).get_content()
    assert html.count('class="button"') == 1 and message["List-Unsubscribe"] is None
    held = arrived(confirmation_message(replace(one, state="active"), "daily", SETTINGS, Links(b"k" * 32, SETTINGS.base_url), MOMENT))
    assert 'class="button"' not in held.get_body(("html",)).get_content()
