"""How mail leaves: a TOML file, over which the environment goes.

    from = "Papers <papers@example.org>"
    base_url = "https://papers.example.org"      # of the served page; links in mails begin with it
    [smtp]
    host = "smtp.example.org"
    security = "starttls"                        # or "tls"; "none" sends in the clear
    user = "papers"
    password_file = "smtp-password"              # beside this file
    [digest]
    share = 0.01                                 # of unrelated new documents that may pass for near

Environment: DIPOLE_MAIL_FROM, DIPOLE_BASE_URL, DIPOLE_SMTP_HOST, _PORT, _SECURITY, _USER, _PASSWORD_FILE, _CA_FILE.
"""

from __future__ import annotations

import dataclasses
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formataddr, parseaddr
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dipole.core.addresses import is_loopback
from dipole.core.errors import DataError, ParameterError, UnknownNameError, UsageError
from dipole.digest.address import AddressError, normalised

FILE = "mail.toml"  # in the state folder
PORTS = {"starttls": 587, "tls": 465, "none": 25}
_TOP = {"from": "sender", "base_url": "base_url"}
_SMTP = ("host", "port", "security", "user", "password_file", "ca_file", "timeout", "retries", "pause")
_DIGEST = ("share", "limit", "trending")
_NUMBERS: Mapping[str, tuple[type, float]] = {  # key: what it is, and what it must be above
    **{"port": (int, 0), "timeout": (float, 0), "retries": (int, -1), "pause": (float, 0)},
    **{"share": (float, 0), "limit": (int, 0), "trending": (int, 0)},
}
_ENVIRONMENT = {
    **{"sender": "DIPOLE_MAIL_FROM", "base_url": "DIPOLE_BASE_URL"},
    **{name: f"DIPOLE_SMTP_{name.upper()}" for name in ("host", "port", "security", "user", "password_file", "ca_file")},
}


@dataclass(frozen=True)
class MailSettings:
    """Whom mail comes from, through which server, and what digests hold.

    ``retries`` more attempts on a temporary failure, after ``pause`` seconds and twice as long each time. ``share``: of unrelated new
    documents that may pass for near; ``limit``: documents in a mail; ``trending``: how far down that list counts.
    """

    sender: str = ""
    base_url: str = ""
    host: str = ""
    port: int = 0
    security: str = "starttls"
    user: str = ""
    password: str = dataclasses.field(default="", repr=False)
    ca_file: str = ""
    timeout: float = 30.0
    retries: int = 3
    pause: float = 2.0
    share: float = 0.01
    limit: int = 20
    trending: int = 10

    @property
    def sends(self) -> bool:
        """Whether there is a server to send through."""
        return bool(self.host)

    @property
    def address(self) -> str:
        """The sender without the name."""
        return parseaddr(self.sender)[1]

    def checked(self) -> MailSettings:
        """Itself in one form, or an error that names the key, the rule and the value."""
        sender, port = self.sender, self.port or PORTS.get(self.security, 0)
        if sender:
            name, address = parseaddr(sender)
            try:
                sender = formataddr((name, normalised(address)))
            except (AddressError, UnicodeError) as error:
                raise ParameterError("mail", "from", "an address such as Papers <papers@example.org>", self.sender, str(error)) from None
            if any(c in self.sender for c in "\r\n\0"):
                raise ParameterError("mail", "from", "one line", self.sender)
        parts = urlsplit(self.base_url)
        if self.base_url and (parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.fragment):
            raise ParameterError("mail", "base_url", "an http(s) address without ? and #", self.base_url)
        if self.security not in PORTS:
            raise ParameterError("mail", "security", f"one of {', '.join(PORTS)}", self.security)
        if port > 65535:
            raise ParameterError("mail", "port", "at most 65535", port)
        if not self.share < 1:
            raise ParameterError("mail", "share", "above 0 and below 1", self.share)
        if bool(self.user) != bool(self.password):
            raise UsageError("mail: user and password_file go together; give both or neither")
        if self.user and self.security == "none" and not is_loopback(self.host.strip("[]")):
            raise ParameterError("mail", "security", "starttls or tls where a password is sent to another machine", self.security)
        if self.host and not (self.sender and self.base_url):
            raise UsageError("mail: with an SMTP host, from and base_url must be given: a mail needs a sender, and its links a beginning")
        return dataclasses.replace(self, sender=sender, port=port, base_url=self.base_url.rstrip("/"))


def read(state: Path, path: Path | None = None, base_url: str = "") -> MailSettings:
    """The settings of ``path``, or of ``mail.toml`` in the state folder, with the environment over it; without either, none is sent.

    ``base_url`` counts where neither gives one.
    """
    chosen = path or state / FILE
    given: dict[str, Any] = {}
    if chosen.is_file():
        given = _flat(_parsed(chosen), chosen)
    elif path is not None:
        raise UsageError(f"{path} is not a file; docs/digest.md has an example")
    for key, variable in _ENVIRONMENT.items():
        if value := os.environ.get(variable):
            given[key] = value
    for key, (kind, least) in _NUMBERS.items():
        if key in given:
            given[key] = _number(key, given[key], kind, least)
    for key, value in given.items():
        if key not in _NUMBERS and not isinstance(value, str):
            raise ParameterError("mail", key, "a text", value)
    if password_file := given.pop("password_file", ""):
        given["password"] = _password(chosen.parent / Path(password_file).expanduser())
    if given.get("ca_file"):
        given["ca_file"] = str(chosen.parent / Path(given["ca_file"]).expanduser())
    return MailSettings(**{"base_url": base_url, **given}).checked()


def _parsed(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError("this is not TOML", path=path, value=str(error)) from error


def _flat(tables: dict[str, Any], path: Path) -> dict[str, Any]:
    given: dict[str, Any] = {}
    known = {"smtp": _SMTP, "digest": _DIGEST}
    for key, value in tables.items():
        if key in known and isinstance(value, dict):
            for name, one in value.items():
                if name not in known[key]:
                    raise UnknownNameError("key", name, known[key], f"{path}, [{key}]")
                given[name] = one
        elif key in _TOP:
            given[_TOP[key]] = value
        else:
            raise UnknownNameError("key", key, [*_TOP, *known], str(path))
    return given


def _number(key: str, value: Any, kind: type, least: float) -> Any:
    try:
        number = kind(value) if not isinstance(value, bool) else None
    except (TypeError, ValueError):
        number = None
    if number is None or not number > least or (kind is int and number != float(value)):
        raise ParameterError("mail", key, f"a {'whole ' if kind is int else ''}number above {least:g}", value)
    return number


def _password(path: Path) -> str:
    try:
        password = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise DataError("the password cannot be read", path=path, value=error.strerror) from error
    if not password:
        raise DataError("the password file is empty", path=path)
    return password
