"""One SMTP server, spoken to so that after every step it is known whether a mail may have left."""

from __future__ import annotations

import contextlib
import smtplib
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.message import EmailMessage
from types import TracebackType

from dipole.core.errors import DipoleError
from dipole.digest.compose import WIRE
from dipole.digest.settings import MailSettings

ACCEPTED, TEMPORARY, PERMANENT, UNKNOWN, WITHDRAWN = ("accepted", "temporary", "permanent", "unknown", "withdrawn")
_VERDICT = 600.0  # seconds a server may take over a body: RFC 5321, 4.5.3.2.6, since giving up earlier leaves it unknown


class TransportError(DipoleError):
    """The server, or how it was configured, is at fault, and no mail to anybody would get through."""


@dataclass(frozen=True)
class Answer:
    """What became of a mail. ``reached``: the server takes mail from us; ``heard``: it said what becomes of this one."""

    outcome: str
    reply: str = ""
    reached: bool = True
    heard: bool = True

    @property
    def policy(self) -> bool:
        """Whether the refusal says something of the sender, not of the recipient (X.7.X of RFC 3463)."""
        return self.reply.partition(" ")[2].startswith("5.7.")


class Mailer:
    """A connection that is opened when needed, kept for the next mail, and closed at the end of the block."""

    def __init__(self, settings: MailSettings, sleep: Callable[[float], None] = time.sleep) -> None:
        self.settings = settings
        self.sleep = sleep
        self._server: smtplib.SMTP | None = None

    def __enter__(self) -> Mailer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._close(politely=kind is None)

    def send(self, message: EmailMessage, to: str, leaving: Callable[[], bool], back: Callable[[Answer], None]) -> Answer:
        """Send, and while the server cannot be reached try again, waiting twice as long each time.

        What the server puts off for this recipient alone is the caller's to try again, once the others have had their mail. ``leaving``
        is asked before anything of the body is sent, and may withdraw the mail; ``back`` hears of each temporary failure. Raises
        TransportError for a wrong certificate, login or sender.
        """
        pause = self.settings.pause
        for attempt in range(self.settings.retries + 1):
            answer = self._once(message, to, leaving)
            if answer.outcome != TEMPORARY:
                return answer
            back(answer)
            if answer.reached:
                return answer
            self._close()
            if attempt < self.settings.retries:
                self.sleep(pause)
                pause *= 2
        return answer

    def _once(self, message: EmailMessage, to: str, leaving: Callable[[], bool]) -> Answer:
        kept = self._server is not None
        try:
            server = self._open()
            code, reply = server.mail(self.settings.address)
            said = _said(code, reply)
        except (OSError, smtplib.SMTPException) as error:
            code, said = 421, _reason(error)
        if code == 421 and kept:  # the server tired of a connection; that says nothing of a new one
            self._close()
            return self._once(message, to, leaving)
        if code >= 500:
            raise TransportError(f"{self._name} refuses the sender {self.settings.address}: {said}; look at `from` and user")
        if code // 100 != 2:
            return Answer(TEMPORARY, said, reached=False)
        try:
            code, reply = server.rcpt(to)
            if code // 100 != 2:
                return self._refused(server, code, reply)
            if not leaving():
                self._taken_back(server)
                return Answer(WITHDRAWN)
            code, reply = server.docmd("DATA")
            if code != 354:
                return self._refused(server, code, reply)
        except (OSError, smtplib.SMTPException) as error:  # nothing of the body was sent
            self._close()
            return Answer(TEMPORARY, _reason(error), heard=False)
        body = message.as_bytes(policy=WIRE).replace(b"\r\n.", b"\r\n..")
        try:
            server.send(body + b".\r\n" if body.endswith(b"\r\n") else body + b"\r\n.\r\n")
            _patient(server, max(_VERDICT, self.settings.timeout))
            code, reply = server.getreply()
            _patient(server, self.settings.timeout)
        except (OSError, smtplib.SMTPException) as error:
            self._close()
            return Answer(UNKNOWN, _reason(error), heard=False)
        return Answer({2: ACCEPTED, 5: PERMANENT, 4: TEMPORARY}.get(code // 100, UNKNOWN), _said(code, reply), heard=code not in (421, -1))

    def _refused(self, server: smtplib.SMTP, code: int, reply: bytes) -> Answer:
        """What a refusal before the body means; the connection is fit for the next mail, or closed."""
        self._taken_back(server)
        return Answer(PERMANENT if code >= 500 else TEMPORARY, _said(code, reply), heard=code not in (421, -1))

    def _taken_back(self, server: smtplib.SMTP) -> None:
        """End the mail that was begun. A server that hangs up after its answer has answered all the same."""
        try:
            fit = server.rset()[0] == 250
        except (OSError, smtplib.SMTPException):
            fit = False
        if not fit:
            self._close()

    def _open(self) -> smtplib.SMTP:
        if self._server is None:
            known, context = self.settings, ssl.create_default_context(cafile=self.settings.ca_file or None)
            with self._faults():
                if known.security == "tls":
                    server: smtplib.SMTP = smtplib.SMTP_SSL(known.host, known.port, timeout=known.timeout, context=context)
                else:
                    server = smtplib.SMTP(known.host, known.port, timeout=known.timeout)
                try:
                    if known.security == "starttls":
                        server.starttls(context=context)
                    server.ehlo_or_helo_if_needed()
                    if known.user:
                        server.login(known.user, known.password)
                except BaseException:
                    server.close()
                    raise
            self._server = server
        return self._server

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        """What no waiting will cure, as TransportError."""
        try:
            yield
        except ssl.SSLCertVerificationError as error:
            remedy = "give ca_file if it is your own authority's"
            raise TransportError(f"{self._name}: its certificate is not to be trusted: {error.verify_message}; {remedy}") from None
        except smtplib.SMTPNotSupportedError as error:
            raise TransportError(f"{self._name}: {error}; nothing was sent") from None
        except smtplib.SMTPResponseException as error:
            if error.smtp_code < 500:
                raise
            raise TransportError(f"{self._name}, user {self.settings.user!r}: {_reason(error)}") from None

    @property
    def _name(self) -> str:
        return f"the mail server {self.settings.host}:{self.settings.port}"

    def _close(self, politely: bool = False) -> None:
        server, self._server = self._server, None
        if server is not None:
            with contextlib.suppress(OSError, smtplib.SMTPException):
                if politely:
                    server.quit()
            server.close()


def _patient(server: smtplib.SMTP, seconds: float) -> None:
    if server.sock is not None:
        server.sock.settimeout(seconds)


def _said(code: int, reply: bytes | str) -> str:
    text = reply.decode("utf-8", "replace") if isinstance(reply, bytes) else reply
    return f"{code} {' '.join(text.split())}"


def _reason(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPResponseException):
        return _said(error.smtp_code, error.smtp_error)
    return str(error) or type(error).__name__
