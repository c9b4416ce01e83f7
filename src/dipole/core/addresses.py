"""Addresses that people and documents give: which are this machine, which are of the web, which lead back to this site."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def is_loopback(host: str) -> bool:
    """Whether a host is this machine itself.

    >>> is_loopback("127.0.0.2"), is_loopback("::1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def web_address(url: str) -> str:
    r"""The address where it is one of the web, else empty: ``javascript:`` and its like never become links.

    >>> [web_address(u) for u in ("https://a.org/x", " HTTP://a.org", "javascript:alert(1)", "//a.org", "java\nscript:x", "data:,", "")]
    ['https://a.org/x', 'HTTP://a.org', '', '', '', '', '']
    """
    said = url.strip()
    if any(character.isspace() or ord(character) < 32 for character in said):
        return ""
    try:
        parts = urlsplit(said)
        return said if parts.scheme.lower() in ("http", "https") and parts.hostname else ""
    except ValueError:
        return ""


def own_address(said: str, home: str = "/") -> str:
    r"""An address of the site it is said to, whatever somebody wrote into a link or a form; else ``home``.

    >>> own_address("/newest?page=2"), own_address("//evil.example"), own_address("/\\evil.example"), own_address("https://evil.example")
    ('/newest?page=2', '/', '/', '/')
    """
    return said if said.startswith("/") and not said.startswith("//") and "\\" not in said and said.isprintable() else home
