"""Bitext mining: does a sentence find its translation?

By plain cosine (Tatoeba) and by margin (Artetxe and Schwenk 2019): the cosine over the mean cosine of both sentences' k nearest
neighbours, which takes away what hubs gain. Mining (BUCC) takes pairs in the order of their margin, each sentence once, down to a
threshold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from dipole.core.errors import DataError, UsageError
from dipole.core.part import at_least, part
from dipole.evaluate.bootstrap import Floats, sums_by, weighted_intervals
from dipole.evaluate.kind import SAMPLES, result
from dipole.evaluate.labelled import Codes, shown
from dipole.evaluate.margin import Mined, best, margins, mine
from dipole.evaluate.result import Result
from dipole.evaluate.table import find_split, read_table
from dipole.evaluate.vectors import Encode, Sides
from dipole.pairwise.topk import topk_search
from dipole.rows.read import lines

__all__ = ["Bitext"]


@dataclass(frozen=True, eq=False)
class BitextTask:
    """Two lists of items and the gold pairs, (source place, target place); an item may be in no pair."""

    name: str
    sources: Sequence[Any]
    targets: Sequence[Any]
    gold: Sequence[tuple[int, int]]


@part
class Bitext:
    """Translations: does a sentence find its translation among all sentences of the other language?"""

    neighbours: int = at_least(1, 4, "k of the margin's neighbourhoods, and how many candidates the margin orders")

    files: ClassVar[str] = (
        "FILE with source and target; or A+B, two plain files in which line i of one translates line i of the other; or a FOLDER of "
        "source.* and target.* (id and text) and gold.tsv (source id, tab, target id)"
    )
    unit: ClassVar[str] = "pairs"
    two_sided: ClassVar[bool] = False
    primary: ClassVar[str] = "f1"
    policy: ClassVar[Mapping[str, str]] = {
        "score": "cosine; margin = cosine over the mean cosine of source and target to their k nearest on the other side",
        "ties": "the sentence that comes first",
        "duplicates": "sentences of equal text are one: finding a copy of the translation is right",
        "mining": "by margin, best first, each sentence once, down to the threshold that is best for the gold pairs, which flatters",
        "interval": "95% percentile bootstrap over gold pairs, for f1 centred on the figure; for mining, what was mined held fixed",
    }

    def definitions(self) -> dict[str, str]:
        return {
            "f1": "mean over gold targets of the F1 of being named by their source: 2 / (1 + how many sources name it) where it is, else 0 "
            "(MTEB's weighted F1)",
            "accuracy": "share of gold sources whose nearest target is their translation",
            "accuracy_back": "share of gold targets whose nearest source is their translation",
            "margin_accuracy": "share of gold sources whose target of largest margin is their translation",
            "margin_accuracy_back": "share of gold targets whose source of largest margin is their translation",
            "mining_precision": "share of mined pairs that are gold, at the best threshold",
            "mining_recall": "share of gold pairs that are mined, at the best threshold",
            "mining_f1": "F1 of mined pairs at the threshold on the margin with the best F1",
        }

    def read(self, place: str, name: str = "") -> BitextTask:
        path = Path(place).expanduser()
        if path.is_dir():
            return _folder(path, name or place)
        if not path.exists() and "+" in place:
            first, second = (_plain(Path(part).expanduser()) for part in place.split("+", 1))
            if len(first) != len(second):
                rule = "both files must have as many lines, as line i of one translates line i of the other"
                raise DataError(rule, path=place, value=(len(first), len(second)))
            return BitextTask(name or place, first, second, [(i, i) for i in range(len(first))])
        table = read_table(path)
        table.need("positive", "target")
        sources, targets = table.texts("anchor"), table.texts("positive")
        return BitextTask(name or place, sources, targets, [(i, i) for i in range(len(sources))])

    def __call__(
        self, task: BitextTask, encode: Encode, encode_keys: Encode | None = None, *, seed: int = 0, samples: int = SAMPLES
    ) -> Result:
        """Raises DataError where there is no gold pair."""
        if not task.gold:
            raise DataError(f"task {task.name}: there must be at least one gold pair")
        sides = Sides(encode, encode_keys)
        sources, targets = sides.both(task.sources, task.targets, "sentences")
        there, back = (topk_search(a, b, k=min(self.neighbours, len(b))) for a, b in ((sources, targets), (targets, sources)))
        margin_there, margin_back = margins(there, back), margins(back, there)
        of_source, of_target = _groups(task.sources), _groups(task.targets)
        gold = np.array(task.gold, dtype=np.int64)
        found = {
            "accuracy": of_target[there.ids[:, 0].numpy()[gold[:, 0]]] == of_target[gold[:, 1]],
            "accuracy_back": of_source[back.ids[:, 0].numpy()[gold[:, 1]]] == of_source[gold[:, 0]],
            "margin_accuracy": of_target[best(there, margin_there)[gold[:, 0]]] == of_target[gold[:, 1]],
            "margin_accuracy_back": of_source[best(back, margin_back)[gold[:, 1]]] == of_source[gold[:, 0]],
        }
        named = of_target[there.ids[:, 0].numpy()[gold[:, 0]]]
        pairs = [(m, int(of_source[s]), int(of_target[t])) for m, s, t in mine(there, back, margin_there, margin_back)]
        mined = Mined(pairs, [(int(of_source[s]), int(of_target[t])) for s, t in task.gold])

        def figures(weights: Floats) -> dict[str, Floats]:
            total = weights.sum(axis=1)
            means = {name: weights @ right.astype(np.float64) / total for name, right in found.items()}
            return {"f1": _weighted_f1(of_target[gold[:, 1]], named, weights), **means}

        metrics = {name: float(values[0]) for name, values in figures(np.ones((1, len(gold)))).items()} | mined.figures()
        intervals = weighted_intervals(len(gold), figures, seed, samples, centre={"f1": metrics["f1"]}) | mined.intervals(seed, samples)
        names = shown(task.sources), shown(task.targets)
        columns: dict[str, Any] = {
            "source": [names[0][s] for s, _ in task.gold],
            "target": [names[1][t] for _, t in task.gold],
            **{name: right.tolist() for name, right in found.items()},
        }
        counts = {
            "pairs": len(gold),
            "sources": len(sources),
            "targets": len(targets),
            "duplicate_sources": len(sources) - len(set(of_source.tolist())),
            "duplicate_targets": len(targets) - len(set(of_target.tolist())),
        }
        return result(self, task.name, sides, metrics, intervals, columns, counts, seed)


def _groups(items: Sequence[Any]) -> Codes:
    """(N,) the place of the first item of equal text; anything that is no text equals itself only."""
    first: dict[str, int] = {}
    return np.array([first.setdefault(x, i) if isinstance(x, str) else i for i, x in enumerate(items)], dtype=np.int64)


def _weighted_f1(truth: Codes, named: Codes, weights: Floats) -> Floats:
    """(S,) F1 per target, weighted by how often it is gold."""
    size = int(max(truth.max(), named.max())) + 1
    hit = truth == named
    true, said = sums_by(weights, truth, size), sums_by(weights, named, size)
    right = sums_by(weights[:, hit], truth[hit], size)
    f1 = 2 * right / np.maximum(true + said, 1e-12)
    found: Floats = (f1 * true).sum(axis=1) / true.sum(axis=1)
    return found


def _plain(path: Path) -> list[str]:
    if not path.is_file():
        raise UsageError(f"{path}: no such file; give two plain files as A+B")
    found = []
    for line, text in lines(path):
        if not text.strip():
            raise DataError("a line must not be empty, as line i of one file translates line i of the other", path=path, line=line)
        found.append(text.strip())
    if not found:
        raise DataError("the file is empty", path=path)
    return found


def _folder(folder: Path, name: str) -> BitextTask:
    places: dict[str, dict[str, int]] = {}
    texts = {}
    for side in ("source", "target"):
        file = find_split(folder, (side, f"{side}s"))
        if file is None:
            raise UsageError(f"{folder}: the folder must hold {side}.jsonl (or .csv, .tsv), with id and text")
        table = read_table(file)
        texts[side], ids = table.texts("anchor"), table.labels("id")
        places[side] = {}
        for row, one in enumerate(ids):
            if one in places[side]:
                raise table.error(row, "id", "the ids must differ", one)
            places[side][one] = row
    gold = []
    path = folder / "gold.tsv"
    if not path.is_file():
        raise UsageError(f"{path}: missing; it holds a gold pair a line: source id, tab, target id")
    for line, text in lines(path):
        fields = text.split("\t")
        if not text.strip():
            continue
        if len(fields) != 2:
            raise DataError("a gold pair must be a source id, a tab and a target id", path=path, line=line, value=text)
        for side, one in zip(("source", "target"), fields, strict=True):
            if one not in places[side]:
                raise DataError(f"no {side} sentence has this id", path=path, line=line, value=one)
        gold.append((places["source"][fields[0]], places["target"][fields[1]]))
    return BitextTask(name, texts["source"], texts["target"], gold)
