"""The run's log: ``log.jsonl``, one line a step, and a progress bar on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dipole.core.errors import CheckpointError
from dipole.core.extras import need
from dipole.core.files import replace_text


class Log:
    """Appends to ``log.jsonl``. ``keep_below``: lines of this step and later are dropped first (they will be repeated)."""

    def __init__(self, path: Path, keep_below: int = 0) -> None:
        self.path = path
        kept = [r for r in read(path) if r["step"] <= keep_below] if keep_below and path.exists() else []
        replace_text(path, "".join(json.dumps(r) + "\n" for r in kept))
        self.records: list[dict[str, Any]] = kept
        self._file = path.open("a", encoding="utf-8")

    def write(self, record: Mapping[str, Any]) -> None:
        """One line, on disk at once, so that ``tail -f`` and a killed run see it."""
        self.records.append(dict(record))
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a log; an unfinished last line (a killed run) is left out."""
    records = []
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, text in enumerate(lines, 1):
        try:
            records.append(json.loads(text))
        except ValueError as error:
            if number < len(lines):
                raise CheckpointError(f"{path}:{number}: is not valid JSON; delete the file to go on without the earlier log") from error
    return records


class Progress:
    """A bar on stderr; silent where ``show`` is False or stderr is no terminal, except for a line at each tenth."""

    def __init__(self, steps: int, done: int, show: bool) -> None:
        self.steps, self.show, self.bar = steps, show, None
        self.spread = ""  # as last read
        if show and sys.stderr.isatty():
            self.bar = need("tqdm", "train", "the progress bar").tqdm(total=steps, initial=done, unit="step", file=sys.stderr)

    def advance(self, step: int, record: Mapping[str, Any]) -> None:
        text = f"loss {record['loss']:.4f}"
        if record.get("log_candidates"):
            text += f" (log N {record['log_candidates']:.2f})"
        if "effective_rank" in record:
            self.spread = f", rank {record['effective_rank']:.0f}, mean cosine {record['mean_cosine']:.2f}"
        text += self.spread
        if self.bar is not None:
            self.bar.set_postfix_str(text, refresh=False)
            self.bar.update(1)
        elif self.show and (step == self.steps or step * 10 // self.steps > (step - 1) * 10 // self.steps):
            print(f"step {step}/{self.steps}: {text}", file=sys.stderr)

    def say(self, text: str) -> None:
        if self.bar is not None:
            self.bar.write(text, file=sys.stderr)
        elif self.show:
            print(text, file=sys.stderr)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
