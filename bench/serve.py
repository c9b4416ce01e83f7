"""How many requests ``dipole serve`` answers on loopback, how long each takes, and whether its memory stays flat.

    python -m bench.serve                                   60 s for each line, 300 s for the last; writes bench/results/serve.json
    python -m bench.serve --seconds 5 --documents 1000      a look; nothing is written

The collection is the docstrings of the running interpreter's standard library, encoded by MiniLM. Queries are runs of words
out of them: ``distinct`` ones are each asked once, so that each has to be encoded, ``repeated`` ones are of a set of 200.
Server and clients are two processes on the same machine and share its cores; every client keeps one connection. The server's memory is
looked at every ten seconds. The last line is the soak: 64 clients with distinct queries for five times as long, in which memory must
level off; ``MB grown`` is by how much its second half lies above its first.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

from bench import memory
from bench.record import circumstances, write

CLIENTS = (1, 8, 64)
REPEATED = 200
SOAK = 5  # times as long as the other lines
LOOK = 10.0  # seconds between two looks at the server's memory


def made(folder: Path, most: int) -> list[str]:
    """The collection, and the texts queries are cut from; ``most`` documents, 0 for all."""
    from dipole.modality.text.load import load_encoder
    from dipole.modality.text.rows.code import Code
    from dipole.search.collection import Collection
    from dipole.search.documents import Document

    rows = list(Code())[: most or None]
    documents = [Document(f"{row['name']}:{row['line']}", str(row["anchor"]), {"file": row["file"]}, str(row["name"])) for row in rows]
    unique = list({document.id: document for document in documents}.values())
    Collection.create(folder, unique, load_encoder("minilm"))
    return [document.text for document in unique]


def queries(texts: list[str], seed: int) -> Iterator[str]:
    """Runs of three to nine words of a text, without end; the seed decides which."""
    dice = random.Random(seed)
    while True:
        words = dice.choice(texts).split()
        length = dice.randint(3, 9)
        start = dice.randint(0, max(0, len(words) - length))
        yield " ".join(words[start : start + length])


class Load:
    """So many clients, each asking again as soon as it was answered."""

    def __init__(self, port: int, paths: list[Iterator[str]], seconds: float, server: int) -> None:
        self.port, self.paths, self.server = port, paths, server
        self.megabytes: list[int] = []
        self.times: list[list[float]] = [[] for _ in paths]
        self.failed = 0
        self.end = time.perf_counter() + seconds

    def run(self) -> dict[str, Any]:
        """Requests a second, percentiles of milliseconds, and the memory of the server (its process) as it went."""
        start = time.perf_counter()
        threads = [threading.Thread(target=self._client, args=(number,)) for number in range(len(self.paths))]
        for thread in threads:
            thread.start()
        while (left := self.end - time.perf_counter()) > 0:
            time.sleep(min(LOOK, left))
            self.megabytes.append(megabytes(self.server))
        for thread in threads:
            thread.join()
        took = time.perf_counter() - start
        times = sorted(1000 * one for client in self.times for one in client)
        cuts = statistics.quantiles(times, n=100, method="inclusive")
        shown = {f"p{p} ms": round(cuts[p - 1], 2) for p in (50, 95, 99)}
        return {
            "requests": len(times),
            "failed": self.failed,
            "requests/s": round(len(times) / took, 1),
            **shown,
            "max ms": round(times[-1], 1),
            "MB": self.megabytes,
            "MB after": megabytes(self.server),
        }

    def _client(self, number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        for path in self.paths[number]:
            start = time.perf_counter()
            if start > self.end:
                break
            connection.request("GET", path)
            answer = connection.getresponse()
            answer.read()
            self.times[number].append(time.perf_counter() - start)
            self.failed += answer.status != 200
        connection.close()


def megabytes(pid: int) -> int:
    """What a process holds."""
    return round(memory.resident(pid) / 1e6)


def ready(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until the server says so."""
    while True:
        if process.poll() is not None:
            raise SystemExit("the server ended")
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        time.sleep(0.2)


def search(texts: list[str], kind: str, seed: int) -> Iterator[str]:
    """Addresses of searches."""
    if kind == "repeated":
        pool = queries(texts, 0)
        known = [next(pool) for _ in range(REPEATED)]
        dice = random.Random(seed)
        while True:
            yield f"/search?q={quote_plus(dice.choice(known))}"
    for number, query in enumerate(queries(texts, seed)):
        yield f"/search?q={quote_plus(f'{query} {seed}.{number}')}"


def main() -> None:
    """Measure, print, and write where the time is the full one."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--seconds", type=float, default=60.0)
    asked.add_argument("--documents", type=int, default=0, help="so many of them, for a look; 0 for all")
    seconds, documents = asked.parse_args().seconds, asked.parse_args().documents
    with tempfile.TemporaryDirectory() as folder:
        texts = made(Path(folder) / "library", documents)
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
        command = [sys.executable, "-m", "dipole", "serve", f"{folder}/library", "--port", str(port), "--rate", "0"]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            ready(port, process)
            Load(port, [search(texts, "distinct", 10**6)], 2, process.pid).run()
            Load(port, [search(texts, "repeated", seed) for seed in range(8)], 2, process.pid).run()
            lines, before = [], megabytes(process.pid)
            plan = [(kind, clients, 1) for kind in ("distinct", "repeated") for clients in CLIENTS] + [("distinct", CLIENTS[-1], SOAK)]
            for place, (kind, clients, times) in enumerate(plan):
                asked_by = [search(texts, kind, 1000 * place + client) for client in range(clients)]
                found = Load(port, asked_by, seconds * times, process.pid).run()
                lines.append({"queries": kind, "clients": clients, **found})
                print(json.dumps(lines[-1]), flush=True)
        finally:
            process.terminate()
            process.wait(timeout=60)
    soak = lines.pop()
    soak["MB grown"] = round(
        statistics.median(soak["MB"][len(soak["MB"]) // 2 :]) - statistics.median(soak["MB"][: -(-len(soak["MB"]) // 2)])
    )
    result = {"documents": len(texts), "seconds": seconds, "MB before": before, "lines": lines, "soak": soak}
    print(json.dumps({"documents": len(texts), "MB before": before, "MB grown": soak["MB grown"]}))
    if seconds >= 60 and not documents:
        print(write("serve.json", {**circumstances("fastapi", "uvicorn", "lancedb"), **result}))


if __name__ == "__main__":
    main()
