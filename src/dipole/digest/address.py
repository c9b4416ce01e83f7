r"""What strangers type: an e-mail address and a query, checked and put into one form before anything is done with them.

>>> normalised("  Ada@Example.ORG ")
'Ada@example.org'
>>> cleaned("graph\n  transformers")
'graph transformers'
"""

from __future__ import annotations

import re
import unicodedata

from dipole.core.errors import UsageError
from dipole.digest.line import one_line

QUERY_LIMIT = 500  # characters
_ATOM = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")  # RFC 5322, dot-atom
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_LINK = re.compile(  # what mail programs make a link of: ://, www., mailto:, name@example.org, example.org/
    r"://|\bwww\.|\bmailto:|[^\s@]@[^\s@]+\.[^\W\d_]{2}|[\w-]\.[^\W\d_][\w-]+\.?(:\d+)?/", re.IGNORECASE
)
_TWO_READINGS = "ßς\u200c\u200d"  # IDNA 2003 and 2008 lead to different domains


class AddressError(UsageError):
    """What was typed is not an address that mail can be sent to, or not a query; the message is fit to be shown to whoever typed it."""


def normalised(text: str) -> str:
    """An address with its domain in lower-case ASCII. Raises AddressError where it is none.

    Quoted local parts, comments, display names and addresses of machines ([127.0.0.1]) are refused: nobody signs up with one.
    """
    given = unicodedata.normalize("NFC", text.strip())
    local, at, domain = given.rpartition("@")
    if not at or len(given) > 254:
        raise AddressError("an e-mail address looks like name@example.org and has at most 254 characters")
    if not local.isascii():
        raise AddressError("the part before the @ must be plain ASCII: few mail servers deliver anything else")
    if len(local) > 64 or not _ATOM.fullmatch(local):
        raise AddressError("the part before the @ holds something that an e-mail address cannot, or is too long")
    labels = _ascii(domain).split(".")
    if len(labels) < 2 or not all(map(_LABEL.fullmatch, labels)) or labels[-1].isdigit() or len(".".join(labels)) > 253:
        raise AddressError("the part after the @ is not a domain such as example.org")
    return f"{local}@{'.'.join(labels)}"


def same(address: str) -> str:
    """What two spellings of one mailbox have in common: nobody tells people apart by upper case."""
    return address.lower()


def cleaned(query: str) -> str:
    """A query on one line, without what cannot be seen. Raises AddressError where it holds no letter or digit, is too long, or holds a
    web or e-mail address: anybody can have the mail that asks for confirmation sent to anybody, and it must not carry theirs. A bare
    ``example.org`` passes, as ``node.js`` has to.
    """
    line = one_line(unicodedata.normalize("NFC", query))
    if len(line) > QUERY_LIMIT:
        raise AddressError(f"a query has at most {QUERY_LIMIT} characters")
    if not any(c.isalnum() for c in line):
        raise AddressError("a query needs words: say in a sentence what you want to hear about")
    if _LINK.search(unicodedata.normalize("NFKC", line)):
        raise AddressError("a query is said in words; leave out web and e-mail addresses")
    return line


def _ascii(domain: str) -> str:
    lower = domain.lower()
    if any(c in lower for c in _TWO_READINGS):
        raise AddressError("this domain can be read in two ways; write it in its xn-- form")
    try:
        return lower.encode("idna").decode("ascii")
    except UnicodeError:
        return ""
