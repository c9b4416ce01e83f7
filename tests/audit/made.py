"""Clean rows to plant illnesses in: English enough to be recognised, no two alike."""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_PLAIN = "the of and to in is you that it was for on are with as they be at have this from or had by but not what all were we when"
_SYLLABLES = "ba ce di fo gu ha je ki lo mu na pe qui ro su ta ve wi xo yu za bri clo dra fle gri"

Row = dict[str, Any]


def text(dice: random.Random, words: int = 9) -> str:
    """Small English words among made-up ones."""
    return " ".join(dice.choice(_PLAIN.split()) if n % 2 else "".join(dice.choices(_SYLLABLES.split(), k=3)) for n in range(words))


def rows(count: int = 40, seed: int = 0, negatives: bool = True) -> list[Row]:
    """``anchor``, ``positive`` and ``negative`` columns."""
    dice = random.Random(seed)
    names = ("anchor", "positive", *(("negative",) if negatives else ()))
    return [{name: text(dice) for name in names} for _ in range(count)]


def write(path: Path, made: Sequence[Mapping[str, Any] | str]) -> Path:
    """Rows in the format of the ending; a text among JSONL rows is a line as it stands."""
    kind = path.suffix[1:]
    if kind == "jsonl":
        path.write_text("".join((row if isinstance(row, str) else json.dumps(row, ensure_ascii=False)) + "\n" for row in made), "utf-8")
    elif kind == "parquet":
        import pyarrow as pa
        import pyarrow.parquet as parquet

        parquet.write_table(pa.Table.from_pylist([dict(row) for row in made if not isinstance(row, str)]), path, row_group_size=7)
    elif kind == "txt":
        path.write_text("".join(f"{row if isinstance(row, str) else row['anchor']}\n" for row in made), "utf-8")
    else:
        buffer = io.StringIO()
        names = list(made[0]) if isinstance(made[0], Mapping) else []
        if kind == "csv":
            table = csv.DictWriter(buffer, names, lineterminator="\n")
            table.writeheader()
            table.writerows(row for row in made if isinstance(row, Mapping))
        else:
            buffer.write("\t".join(names) + "\n")
            buffer.writelines("\t".join(str(row[n]) for n in names) + "\n" for row in made if isinstance(row, Mapping))
        path.write_text(buffer.getvalue(), "utf-8")
    return path
