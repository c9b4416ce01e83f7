"""What the pages' generators read: results of benchmarks, and docstring text as Markdown."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def measured(name: str) -> Any:
    """The results of a benchmark; None where it has not been run."""
    path = ROOT / "bench" / "results" / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def prose(text: str) -> str:
    """Docstring text as Markdown."""
    return re.sub(r":\w+:`(?:~?[\w.]*\.)?(\w+)`", r"`\1`", text).replace("``", "`")


def cell(text: str) -> str:
    """The same, in a table."""
    return prose(text).replace("|", "\\|")
