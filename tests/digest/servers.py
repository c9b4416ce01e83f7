"""A real SMTP server on this machine, a certificate for it, and a collection to send digests of."""

from __future__ import annotations

import contextlib
import email
import email.policy
import hashlib
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
import torch

from dipole.search.documents import Document
from tests.ports import free_port

controller = pytest.importorskip("aiosmtpd.controller")
smtp = pytest.importorskip("aiosmtpd.smtp")

OLD = [Document(f"old-{i}", f"nothing in particular {i}", title=f"Old {i}") for i in range(150)]


@dataclass
class Inbox:
    """What the server took; ``answers`` are given first, one a sender, recipient or body, before it accepts: "RCPT 450 ..."."""

    taken: list[tuple[str, EmailMessage]] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    tls: list[bool] = field(default_factory=list)
    accepted: Callable[[], None] = lambda: None

    async def handle_MAIL(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        if self.answers and self.answers[0].startswith("MAIL "):
            return self.answers.pop(0).removeprefix("MAIL ")
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        if self.answers and self.answers[0].startswith("RCPT "):
            return self.answers.pop(0).removeprefix("RCPT ")
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if self.answers and self.answers[0] == "DATA drop":
            self.answers.pop(0)
            self._take(server, envelope)
            server.transport.abort()
            return "250 never heard"
        if self.answers and self.answers[0].startswith("DATA "):
            return self.answers.pop(0).removeprefix("DATA ")
        self._take(server, envelope)
        self.accepted()
        return "250 OK"

    def _take(self, server: Any, envelope: Any) -> None:
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        self.raw.append(envelope.content)
        self.tls.append(server.transport.get_extra_info("ssl_object") is not None)
        self.taken += [(to, message) for to in envelope.rcpt_tos]

    @property
    def subjects(self) -> list[str]:
        return [str(message["Subject"]) for _, message in self.taken]


@dataclass
class Running:
    """A server that runs, and what it took."""

    inbox: Inbox
    port: int
    stop: Callable[[], None]


def start(inbox: Inbox, port: int = 0, **options: Any) -> Running:
    """Start it in a thread of its own; ``options`` are aiosmtpd's."""
    port = port or free_port()
    made = controller.Controller(inbox, hostname="127.0.0.1", port=port, **options)
    made.start()
    return Running(inbox, port, made.stop)


class Curt:
    """A server that takes everything but this: at ``step`` (RCPT, RCPT address, DATA, BODY) it says ``reply``, if anything,
    after ``wait`` seconds, and hangs up.
    """

    def __init__(self, step: str, reply: str, wait: float = 0.0, hang_up: bool = True) -> None:
        self.step, self.reply, self.wait, self.hang_up = step, reply, wait, hang_up
        self.connections = 0
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]

    def __enter__(self) -> Curt:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(OSError):  # wakes accept
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _serve(self) -> None:
        while True:
            try:
                line, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._talk, args=(line,), daemon=True).start()

    def _talk(self, line: socket.socket) -> None:
        with line, line.makefile("rwb", buffering=0) as said, contextlib.suppress(OSError):
            said.write(b"220 curt\r\n")
            under_way = False
            while line_said := said.readline().decode().strip():
                command, answer = line_said[:4].upper(), "250 OK"
                step = f"RCPT {line_said.partition('<')[2].rstrip('>')}" if command == "RCPT" else command
                if command == "DATA" and self.step != "DATA":
                    said.write(b"354 go on\r\n")
                    while said.readline() not in (b".\r\n", b""):
                        pass
                    step, under_way = "BODY", False
                elif command == "MAIL":
                    answer, under_way = ("503 nested", True) if under_way else ("250 OK", True)
                elif command == "RSET":
                    under_way = False
                if self.step and step.startswith(self.step):
                    time.sleep(self.wait)
                    said.write(f"{self.reply}\r\n".encode() if self.reply else b"")
                    if self.hang_up:
                        return
                else:
                    said.write(f"{answer}\r\n".encode())


@pytest.fixture
def mail_server() -> Iterator[Running]:
    """A server in the clear."""
    running = start(Inbox())
    yield running
    running.stop()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 and its key, signed by itself. Skips where there is no openssl."""
    folder = tmp_path_factory.mktemp("certificate")
    cert, key = folder / "cert.pem", folder / "key.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(cert), "-days", "2"]
    try:
        name = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
        subprocess.run([*made, *name], check=True, capture_output=True, timeout=60)
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no openssl that makes a certificate: {error}")
    return cert, key


def context(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(*map(str, certificate))
    return made


class Topics:
    """A model without weights: a word of TOPICS gives a direction, the rest of the text a little noise, always the same."""

    model = "topics"
    identity = "topics-16".ljust(64, "0")
    TOPICS = ("cats", "dogs", "graphs", "queues", "proteins", "rivers")

    def encode(self, items: Sequence[str], batch_size: int = 32, progress: bool = False, side: str = "") -> torch.Tensor:
        rows = []
        for text in items:
            seed = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=7).digest(), "big")
            vector = 0.08 * torch.randn(16, generator=torch.Generator().manual_seed(seed))
            for place, topic in enumerate(self.TOPICS):
                vector[place] += topic in text
            rows.append(torch.nn.functional.normalize(vector, dim=0))
        return torch.stack(rows) if rows else torch.empty(0, 16)


def load(name: str) -> Topics:
    assert name == "topics"
    return Topics()


def about(topic: str, start: int, count: int, **fields: Any) -> list[Document]:
    return [
        Document(f"{topic}-{i}", f"{topic} and number {i}", title=f"On {topic}, part {i}", **fields) for i in range(start, start + count)
    ]
