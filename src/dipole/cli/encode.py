"""``dipole encode``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer


def run(
    model: Annotated[str, typer.Argument(help="minilm, a model folder, a run folder, or a hub id.")],
    data: Annotated[Path, typer.Option(help="JSONL, CSV, TSV, TXT or Parquet, or a folder of such files or of images.")],
    out: Annotated[Path, typer.Option(help="The folder to write; an unfinished one is continued.")],
    column: Annotated[str, typer.Option(help="The column that holds the text, or an image's path; by default the anchor's.")] = "",
    batch_size: Annotated[int, typer.Option(min=1, help="Items encoded at once.")] = 32,
    shard_rows: Annotated[int, typer.Option(min=1, help="Rows a shard; a killed run loses at most one shard.")] = 10_000,
    max_tokens: Annotated[int, typer.Option(min=0, help="Cut texts to this length; 0 for the model's own limit.")] = 0,
    side: Annotated[str, typer.Option(help="What the items are to the model: queries, keys, or image or text for two towers.")] = "",
    ray: Annotated[bool, typer.Option("--ray", help="Spread the work over a Ray cluster; by default one of this machine's cores.")] = False,
    ray_address: Annotated[str, typer.Option(help="The cluster to use: host:port, auto, ray://host:port. Implies --ray.")] = "",
    json: Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")] = False,
) -> None:
    """Encode a file of texts, or a folder of images, into shards of vectors; a run that was killed goes on where it stopped.

    The folder holds manifest.json and, per shard, a safetensors file with vectors (n, d) and rows (n), and a JSON file with the ids;
    with --ray, a Lance table written by the workers, who must reach the data and the folder under the same names.

    Example:
        dipole encode minilm --data papers.jsonl --out vectors
        dipole encode minilm --data papers --out vectors --ray-address 10.0.0.1:6379
    """
    import json as format
    import sys
    from dataclasses import asdict

    from tqdm import tqdm

    from dipole.core.files import lasting
    from dipole.modality import on_ray
    from dipole.modality.load import open_encoder
    from dipole.modality.vectors import write_vectors

    opened, images = _opener(data, column)
    rows = opened()
    print(f"{len(rows)} images" if images else f"{len(rows)} rows; {rows.mapping.text()}", file=sys.stderr)
    load = partial(open_encoder, lasting(model), max_tokens=max_tokens)
    encoder = load()
    with tqdm(total=len(rows), unit="item", disable=None if not json else True) as bar:
        settings: dict[str, Any] = {"side": side or ("image" if images else "keys"), "shard_rows": shard_rows, "batch_size": batch_size}
        settings["told"] = lambda done, of: bar.update(done - bar.n) and None
        if ray or ray_address:
            written = on_ray.write_vectors(load, opened, "anchor", out, address=ray_address, **settings)
        else:
            written = write_vectors(encoder, rows, "anchor", out, **settings)
    if json:
        print(format.dumps(asdict(written) | {"out": str(out), "dimension": encoder.dimension}))
        return
    print(
        f"{out}: {written.rows} vectors of {encoder.dimension} numbers in {written.shards} shards, {written.kept} of them kept from before"
    )
    if written.truncated:
        print(f"{written.truncated} of {written.seen} texts were cut to {encoder.limit} tokens", file=sys.stderr)


def _opener(data: Path, column: str) -> tuple[Callable[[], Any], bool]:
    """What opens the rows, and whether they are images: a folder without data files is one of images, encoded by their paths."""
    from dipole.modality.image.rows.folder import Folder
    from dipole.rows.open import open_rows
    from dipole.rows.read import FORMATS

    if data.is_dir() and not any(file.suffix.lower() in FORMATS for file in data.iterdir()):
        return partial(Folder, path=str(data.resolve()), opened=False), True
    return partial(open_rows, data.resolve(), anchor=column), False
