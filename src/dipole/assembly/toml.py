"""Plain values to TOML text: what a run folder keeps and ``dipole show`` prints. The standard library only reads TOML.

>>> print(dumps({"step": {"batch_size": 8}, "losses": [{"use": "dcl", "temperature": 0.1}]}), end="")
[step]
batch_size = 8
<BLANKLINE>
[[losses]]
use = "dcl"
temperature = 0.1
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any


def dumps(tables: Mapping[str, Any]) -> str:
    """Top-level plain values first, then one block per table or list of tables; deeper tables are written in line."""
    blocks = ["".join(f"{_key(k)} = {value(v)}\n" for k, v in tables.items() if not _is_table(v))]
    for name, table in tables.items():
        if isinstance(table, Mapping):
            blocks.append(_block(f"[{_key(name)}]", table))
        elif _is_table(table):
            blocks += [_block(f"[[{_key(name)}]]", entry) for entry in table]
    return "\n".join(b for b in blocks if b)


def value(item: Any) -> str:
    """One value. Raises TypeError for what TOML cannot say."""
    if isinstance(item, bool):
        return "true" if item else "false"
    if isinstance(item, float):
        return repr(item) if math.isfinite(item) else {math.inf: "inf", -math.inf: "-inf"}.get(item, "nan")
    if isinstance(item, int):
        return str(item)
    if isinstance(item, str):
        return json.dumps(item, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(item, (list, tuple)):
        return "[" + ", ".join(map(value, item)) + "]"
    if isinstance(item, Mapping):
        return "{ " + ", ".join(f"{_key(k)} = {value(v)}" for k, v in item.items() if v is not None) + " }" if item else "{}"
    raise TypeError(f"TOML cannot hold a {type(item).__name__}: {item!r}")


def _block(head: str, table: Mapping[str, Any]) -> str:
    return head + "\n" + "".join(f"{_key(k)} = {value(v)}\n" for k, v in table.items() if v is not None)


def _is_table(item: Any) -> bool:
    return isinstance(item, Mapping) or (isinstance(item, (list, tuple)) and bool(item) and all(isinstance(i, Mapping) for i in item))


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else value(name)
