"""``dipole mine``: hard negatives for a file of pairs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import torch


def run(
    model: Annotated[str, typer.Argument(help="minilm, a model folder, a run folder, or a hub id.")],
    data: Annotated[Path, typer.Option(help="Pairs: a JSONL, CSV, TSV or Parquet file with anchor and positive, or a folder of them.")],
    out: Annotated[Path, typer.Option(help="The JSONL file to write: the same rows with a list column, negative.")],
    corpus: Annotated[Path | None, typer.Option(help="More texts to mine from, besides the positives of all rows.")] = None,
    count: Annotated[int, typer.Option(help="Negatives a row, at most.")] = 5,
    depth: Annotated[int, typer.Option(help="How many of the nearest texts are looked at.")] = 100,
    skip: Annotated[int, typer.Option(help="Pass over the first so many.")] = 0,
    share: Annotated[float, typer.Option(help="A negative scores at most this share of the positive; 0: no such rule.")] = 0.95,
    margin: Annotated[float | None, typer.Option(help="A negative scores at least this much below the positive.")] = None,
    max_score: Annotated[float | None, typer.Option(help="A negative scores at most this.")] = None,
    pick: Annotated[str, typer.Option(help="top: the hardest; random: by chance.")] = "top",
    seed: Annotated[int, typer.Option(help="Of the chance.")] = 0,
    batch_size: Annotated[int, typer.Option(min=1, help="Texts encoded at once.")] = 32,
    json: Annotated[Path | None, typer.Option("--json", help="Write what was found and passed over here.")] = None,
) -> None:
    """Mine hard negatives: texts near a row's anchor that are not so near that they may be answers.

    Known answers are never mined, copies are one text. Vectors are kept beside --out, in a folder named by the model's weights
    and the texts, so that a killed run goes on and a changed model is never given another one's vectors.

    Example:
        dipole mine minilm --data pairs.jsonl --out mined.jsonl --count 5
        dipole train clip-pairs --data mined.jsonl --out runs/hard
    """
    from functools import partial

    from dipole.core.files import replace_rows
    from dipole.evaluate.report import write_json
    from dipole.modality.load import open_encoder
    from dipole.rows.open import open_rows
    from dipole.search.mine import Mine, mine_rows

    rules = Mine(count, depth, skip, share or None, margin, max_score, pick, seed)
    rows = list(open_rows(data))
    more = (str(row["anchor"]) for row in open_rows(corpus)) if corpus is not None else ()
    encoder = open_encoder(model)
    encode = partial(vectors_of, encoder, out.with_name(out.name + ".vectors"), batch_size)
    negatives, mined = mine_rows(rows, encode, rules, more, data)
    replace_rows(out, ({**row, "negative": own} for row, own in zip(rows, negatives, strict=True)))
    if json is not None:
        counts = {"rows": len(rows), "negatives": sum(map(len, negatives)), "rows_short": mined.short, "rows_above_positive": mined.above}
        share_above = {"suspected_false_negative_rate": mined.above / len(rows)}
        write_json(json, counts | share_above | {"passed_over": dict(mined.passed_over), "model": encoder.identity, "texts": mined.texts})
    typer.echo(f"{out}: {mined.text}")


class _Texts:
    """Texts as rows that can be encoded."""

    def __init__(self, texts: list[str]) -> None:
        import hashlib

        self.texts = texts
        self.fingerprint = hashlib.sha256("\x00".join(texts).encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"anchor": self.texts[index]}


def vectors_of(encoder: Any, folder: Path, batch_size: int, texts: list[str], side: str) -> torch.Tensor:
    """The vectors of different texts, kept in ``folder`` under the hashes of weights and texts."""
    from tqdm import tqdm

    from dipole.modality.vectors import read_vectors, write_vectors

    rows = _Texts(texts)
    place = folder / f"{encoder.identity[:16]}-{rows.fingerprint[:16]}-{side}"
    place.parent.mkdir(parents=True, exist_ok=True)
    with tqdm(total=len(rows), desc=f"encode {side}", unit="text", disable=None) as bar:
        told = lambda done, of: bar.update(done - bar.n) and None  # noqa: E731
        write_vectors(encoder, rows, "anchor", place, batch_size=batch_size, side=side, told=told)
    return read_vectors(place)[0]
