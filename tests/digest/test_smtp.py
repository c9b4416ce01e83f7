"""Mail through a real server on this machine: TLS, logins, failures that pass and that do not, and what is known when a line breaks."""

from __future__ import annotations

from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from dipole.core.errors import DataError, ParameterError, UnknownNameError, UsageError
from dipole.digest import settings
from dipole.digest.settings import MailSettings
from dipole.digest.smtp import ACCEPTED, PERMANENT, TEMPORARY, UNKNOWN, WITHDRAWN, Answer, Mailer, TransportError
from tests.digest.servers import Curt, Inbox, Running, context, smtp, start
from tests.ports import free_port

FROM = {"sender": "Papers <papers@example.org>", "base_url": "https://papers.example.org", "host": "127.0.0.1"}


def plain(port: int, **more: object) -> MailSettings:
    return MailSettings(**FROM, port=port, security="none", **more).checked()


def message(text: str = "Hello\n.\n..\nleading dots\n") -> EmailMessage:
    made = EmailMessage()
    made["Subject"], made["From"], made["To"] = "Grüße 大", "papers@example.org", "ada@example.org"
    made.set_content(text)
    return made


class Sender:
    """A mailer with a clock that only counts, and a record of what it asked and told."""

    def __init__(self, known: MailSettings) -> None:
        self.slept: list[float] = []
        self.told: list[str] = []
        self.left = 0
        self.mailer = Mailer(known, self.slept.append)

    def __call__(self, text: str = "Hello\n.\n..\nleading dots\n", willing: bool = True) -> Answer:
        def leaving() -> bool:
            self.left += 1
            return willing

        with self.mailer:
            return self.mailer.send(message(text), "ada@example.org", leaving, lambda answer: self.told.append(answer.reply))


def test_a_mail_arrives_as_it_was(mail_server: Running) -> None:
    text = "Hello\n.\n..\n.leading dots\n" + "ü" * 2000 + "\n"
    sender = Sender(plain(mail_server.port))
    assert sender(text).outcome == ACCEPTED and sender.left == 1
    [(to, got)] = mail_server.inbox.taken
    assert to == "ada@example.org" and got["Subject"] == "Grüße 大" and got.get_content() == text


def test_a_connection_serves_many_mails_and_a_refusal_does_not_end_it(mail_server: Running) -> None:
    mail_server.inbox.answers = ["RCPT 550 5.1.1 nobody here"]
    with Mailer(plain(mail_server.port)) as mailer:
        first = mailer.send(message(), "eve@example.org", lambda: True, print)
        connection = mailer._server
        assert (first.outcome, first.reply, first.policy) == (PERMANENT, "550 5.1.1 nobody here", False)
        assert mailer.send(message(), "ada@example.org", lambda: True, print).outcome == ACCEPTED
        assert mailer._server is connection is not None
    assert [to for to, _ in mail_server.inbox.taken] == ["ada@example.org"]


def test_what_is_put_off_for_one_recipient_is_the_callers_to_try_again(mail_server: Running) -> None:
    for step, left in (("RCPT", 0), ("DATA", 1)):
        mail_server.inbox.answers = [f"{step} 451 4.3.0 later"]
        sender = Sender(plain(mail_server.port))
        found = sender()
        assert (found.outcome, found.reached, found.heard, sender.left) == (TEMPORARY, True, True, left)
        assert sender.slept == [] and sender.told == ["451 4.3.0 later"] and mail_server.inbox.taken == []


def test_a_server_that_takes_no_mail_is_tried_again_after_twice_as_long(mail_server: Running) -> None:
    answers = ["452 4.3.1 disk full", "451 4.3.0 still"]

    async def mail(server: object, session: object, envelope: Any, address: str, options: object) -> str:
        if answers:
            return answers.pop(0)
        envelope.mail_from = address
        return "250 OK"

    mail_server.inbox.handle_MAIL = mail
    sender = Sender(plain(mail_server.port, retries=3, pause=2.0))
    assert sender().outcome == ACCEPTED
    assert sender.slept == [2.0, 4.0] and sender.told == ["452 4.3.1 disk full", "451 4.3.0 still"] and sender.left == 1
    answers += ["452 4.3.1 disk full"] * 9
    again = Sender(plain(mail_server.port, retries=2))
    found = again()
    assert (found.outcome, found.reached, len(again.slept), again.left) == (TEMPORARY, False, 2, 0)


@pytest.mark.parametrize(
    ("step", "reply", "outcome", "heard"),
    [
        ("RCPT", "550 5.1.1 nobody here", PERMANENT, True),
        ("RCPT", "450 4.2.0 greylisted", TEMPORARY, True),
        ("RCPT", "421 4.7.0 too much", TEMPORARY, False),
        ("DATA", "554 5.5.1 no", PERMANENT, True),
        ("DATA", "", TEMPORARY, False),
        ("RCPT", "gibberish", TEMPORARY, False),
        ("BODY", "554 5.7.1 spam", PERMANENT, True),
        ("BODY", "", UNKNOWN, False),
        ("BODY", "gibberish", UNKNOWN, False),
    ],
)
def test_a_server_that_answers_and_hangs_up_has_answered(step: str, reply: str, outcome: str, heard: bool) -> None:
    """As servers do that have had enough of a client; and the next mail goes over a new connection."""
    with Curt(step, reply) as server, Mailer(plain(server.port), lambda seconds: None) as mailer:
        found = mailer.send(message(), "eve@example.org", lambda: True, lambda answer: None)
        assert (found.outcome, found.heard, found.reached) == (outcome, heard, True)
        assert reply == "gibberish" or found.reply.startswith(reply.partition(" ")[0])
        server.step, mailer.sleep = "", lambda seconds: pytest.fail("a connection that ended is no reason to wait")
        assert mailer.send(message(), "ada@example.org", lambda: True, print).outcome == ACCEPTED


def test_a_refusal_of_the_data_command_leaves_the_connection_fit_for_the_next() -> None:
    with Curt("DATA", "550 5.5.3 refused", hang_up=False) as server, Mailer(plain(server.port)) as mailer:
        assert mailer.send(message(), "eve@example.org", lambda: True, print).outcome == PERMANENT
        server.step = ""
        assert mailer.send(message(), "ada@example.org", lambda: True, print).outcome == ACCEPTED
        assert server.connections == 1


def test_a_server_may_think_about_a_body_longer_than_about_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    with Curt("BODY", "250 OK, after a scan", wait=0.6) as server, Mailer(plain(server.port, timeout=0.3)) as mailer:
        assert mailer.send(message(), "ada@example.org", lambda: True, print).outcome == ACCEPTED
        monkeypatch.setattr("dipole.digest.smtp._VERDICT", 0.3)
        assert mailer.send(message(), "bob@example.org", lambda: True, print).outcome == UNKNOWN


def test_a_server_that_is_down_is_a_temporary_failure_until_it_is_up() -> None:
    port, inbox, running = free_port(), Inbox(), []
    sender = Sender(plain(port))
    down = sender()
    assert (down.outcome, down.reached, sender.left, len(sender.slept)) == (TEMPORARY, False, 0, 3)
    later = Sender(plain(port))
    later.mailer.sleep = lambda seconds: running.append(start(inbox, port)) if not running else None
    try:
        assert later().outcome == ACCEPTED and len(inbox.taken) == 1
    finally:
        running[0].stop()


def test_a_permanent_failure_of_the_body_is_one_answer(mail_server: Running) -> None:
    mail_server.inbox.answers = ["DATA 554 5.7.1 looks like spam"]
    sender = Sender(plain(mail_server.port))
    found = sender()
    assert (found.outcome, found.policy, sender.slept) == (PERMANENT, True, [])


def test_a_line_that_breaks_before_the_answer_leaves_it_unknown_and_is_not_tried_again(mail_server: Running) -> None:
    mail_server.inbox.answers = ["DATA drop"]
    sender = Sender(plain(mail_server.port))
    assert sender().outcome == UNKNOWN
    assert sender.slept == [] and len(mail_server.inbox.taken) == 1


def test_a_mail_can_be_withdrawn_at_the_last_moment(mail_server: Running) -> None:
    sender = Sender(plain(mail_server.port))
    assert sender(willing=False).outcome == WITHDRAWN and mail_server.inbox.taken == []
    assert sender().outcome == ACCEPTED


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_tls_with_a_certificate_that_is_checked(security: str, certificate: tuple[Path, Path]) -> None:
    secure = context(certificate)
    options = {"ssl_context": secure} if security == "tls" else {"tls_context": secure, "require_starttls": True}
    running = start(Inbox(), **options)
    try:
        known = MailSettings(**FROM, port=running.port, security=security)
        with pytest.raises(TransportError, match=r"not to be trusted.*ca_file"):
            Sender(known.checked())()
        wrong = MailSettings(**{**FROM, "host": "localhost"}, port=running.port, security=security, ca_file=str(certificate[0]))
        with pytest.raises(TransportError, match=r"[Hh]ostname mismatch"):
            Sender(wrong.checked())()
        good = MailSettings(**FROM, port=running.port, security=security, ca_file=str(certificate[0]))
        assert Sender(good.checked())().outcome == ACCEPTED
        assert running.inbox.tls == [True]
    finally:
        running.stop()


def test_a_server_without_starttls_gets_nothing(mail_server: Running) -> None:
    known = MailSettings(**FROM, port=mail_server.port, security="starttls").checked()
    with pytest.raises(TransportError, match="STARTTLS"):
        Sender(known)()
    assert mail_server.inbox.taken == []


def test_logging_in(certificate: tuple[Path, Path]) -> None:
    def check(server: object, session: object, envelope: object, mechanism: str, data: object) -> object:
        return smtp.AuthResult(success=(data.login, data.password) == (b"papers", b"right"), handled=False)

    running = start(Inbox(), tls_context=context(certificate), authenticator=check, auth_required=True)
    try:
        known = MailSettings(**FROM, port=running.port, ca_file=str(certificate[0]), user="papers", password="right").checked()
        assert Sender(known).__call__().outcome == ACCEPTED
        assert "right" not in repr(known)
        wrong = MailSettings(**FROM, port=running.port, ca_file=str(certificate[0]), user="papers", password="wrong").checked()
        with pytest.raises(TransportError, match=r"user 'papers'.*535"):
            Sender(wrong)()
    finally:
        running.stop()


def test_a_refused_sender_is_our_fault_and_nobody_elses(mail_server: Running) -> None:
    async def refuse(server: object, session: object, envelope: object, address: str, options: object) -> str:
        return "553 5.1.8 not yours"

    mail_server.inbox.handle_MAIL = refuse
    with pytest.raises(TransportError, match=r"refuses the sender papers@example.org: 553"):
        Sender(plain(mail_server.port))()


# -- settings ------------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in settings._ENVIRONMENT.values():
        monkeypatch.delenv(variable, raising=False)


FILE = """
from = "Papers <papers@Example.org>"
base_url = "https://papers.example.org/"
[smtp]
host = "smtp.example.org"
user = "papers"
password_file = "secret"
[digest]
share = 0.02
"""


def test_a_file_with_the_environment_over_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not settings.read(tmp_path).sends
    (tmp_path / "mail.toml").write_text(FILE)
    with pytest.raises(DataError, match="password cannot be read"):
        settings.read(tmp_path)
    (tmp_path / "secret").write_text("s3cret\n")
    known = settings.read(tmp_path)
    assert (known.sender, known.address, known.base_url) == (
        "Papers <papers@example.org>",
        "papers@example.org",
        "https://papers.example.org",
    )
    assert (known.host, known.port, known.security, known.password, known.share) == ("smtp.example.org", 587, "starttls", "s3cret", 0.02)
    monkeypatch.setenv("DIPOLE_SMTP_HOST", "mx.example.net")
    monkeypatch.setenv("DIPOLE_SMTP_PORT", "2525")
    assert (settings.read(tmp_path).host, settings.read(tmp_path).port) == ("mx.example.net", 2525)
    with pytest.raises(UsageError, match="not a file"):
        settings.read(tmp_path, tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (('host = "smtp', 'hots = "smtp'), UnknownNameError, "did you mean 'host'"),
        (("[digest]", "[digests]"), UnknownNameError, "digests"),
        (("share = 0.02", "share = 1.5"), ParameterError, "share"),
        (("share = 0.02", "share = 'x'"), ParameterError, "share"),
        (("share = 0.02", "limit = 2.5"), ParameterError, "whole number"),
        (("share = 0.02", "trending = true"), ParameterError, "trending"),
        (('user = "papers"', "user = 7"), ParameterError, "a text"),
        (('user = "papers"', ""), UsageError, "go together"),
        (('user = "papers"', 'user = "papers"\nsecurity = "none"'), ParameterError, "starttls or tls"),
        (('user = "papers"', 'user = "papers"\nsecurity = "ssl"'), ParameterError, "one of"),
        (("https://papers.example.org/", "papers.example.org"), ParameterError, "base_url"),
        (("papers@Example.org", "nobody"), ParameterError, "from"),
        (("Papers <", "Papers\\r\\nBcc: eve@example.org <"), ParameterError, "from"),
        (('base_url = "https://papers.example.org/"', ""), UsageError, "base_url must be given"),
        (("[smtp]", "[smtp"), DataError, "not TOML"),
    ],
)
def test_wrong_settings_are_named(change: tuple[str, str], error: type[Exception], said: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s3cret\n")
    (tmp_path / "mail.toml").write_text(FILE.replace(*change))
    with pytest.raises(error, match=said):
        settings.read(tmp_path)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_a_password_goes_in_the_clear_only_to_this_machine(host: str) -> None:
    known = {**FROM, "host": host, "user": "u", "password": "p", "security": "none"}
    assert MailSettings(**known).checked().port == 25
    with pytest.raises(ParameterError, match="security"):
        MailSettings(**{**known, "host": "127.0.0.1.example.org"}).checked()
