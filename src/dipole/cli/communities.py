"""``dipole communities``: which rows of a file of pairs belong into one batch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def run(
    model: Annotated[str, typer.Argument(help="The teacher: minilm, a model folder, a run folder, or a hub id.")],
    data: Annotated[Path, typer.Option(help="Pairs: a JSONL, CSV, TSV or Parquet file with anchor and positive, or a folder of them.")],
    out: Annotated[Path, typer.Option(help="The JSONL file to write: the same rows with a column of whole numbers, community.")],
    size: Annotated[int, typer.Option(help="Rows of a community, at most.")] = 32,
    depth: Annotated[int, typer.Option(help="Rows are linked where each finds the other's answer within so many ranks.")] = 100,
    skip: Annotated[int, typer.Option(help="The first so many ranks do not link: they are often answers nobody marked.")] = 30,
    seed: Annotated[int, typer.Option(help="Of the order in which communities are tried.")] = 0,
    batch_size: Annotated[int, typer.Option(min=1, help="Texts encoded at once.")] = 32,
) -> None:
    """Find communities of rows that are hard negatives of each other, to make batches of (B3).

    Vectors are kept beside --out as dipole mine keeps them. Rows of a community come into one batch with batches.together = "community".

    Example:
        dipole communities minilm --data pairs.jsonl --out grouped.jsonl --size 32
        dipole train clip-pairs --data grouped.jsonl --set batches.together=community --out runs/hard
    """
    from functools import partial

    from dipole.cli.mine import vectors_of
    from dipole.core.files import replace_rows
    from dipole.modality.load import open_encoder
    from dipole.rows.open import open_rows
    from dipole.search.communities import Communities, group_rows

    rules = Communities(size, depth, skip, seed)
    rows = list(open_rows(data))
    encode = partial(vectors_of, open_encoder(model), out.with_name(out.name + ".vectors"), batch_size)
    found = group_rows(rows, encode, rules, data)
    replace_rows(out, ({**row, "community": number} for row, number in zip(rows, found.of.tolist(), strict=True)))
    typer.echo(f"{out}: {found.text}")
