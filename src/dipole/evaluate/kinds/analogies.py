"""Analogies: a is to b as c is to which word?

    3CosAdd (Mikolov et al. 2013)          argmax_d cos(d, b - a + c)
    3CosMul (Levy and Goldberg 2014)       argmax_d s(d, b) s(d, c) / (s(d, a) + 0.001),  s = (cos + 1) / 2

over the words of the file, a, b and c left out. Neither builds a table of questions by words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from dipole.core.errors import DataError, UsageError
from dipole.core.pairs import Pairs
from dipole.core.part import part
from dipole.core.scores import Dot
from dipole.evaluate.bootstrap import Floats, sums_by, weighted_intervals
from dipole.evaluate.kind import SAMPLES, result
from dipole.evaluate.labelled import codes_of
from dipole.evaluate.result import Result
from dipole.evaluate.vectors import Encode, Sides
from dipole.pairwise import Channel, Tile, TopK, reduce
from dipole.rows.read import lines

__all__ = ["Analogies"]

EPSILON = 0.001  # of 3CosMul, as published


@dataclass(frozen=True, eq=False)
class AnalogyTask:
    """``questions`` (a, b, c, d) with the ``sections`` they are from. ``vocabulary``: the words that may be answers."""

    name: str
    questions: Sequence[tuple[Any, Any, Any, Any]]
    sections: Sequence[str]
    vocabulary: Sequence[Any] = ()


@part
class Analogies:
    """a is to b as c is to which word? By vector arithmetic over the words of the file."""

    files: ClassVar[str] = "FILE in word2vec's form: lines of four words, ': NAME' before each section"
    unit: ClassVar[str] = "questions"
    two_sided: ClassVar[bool] = False
    primary: ClassVar[str] = "3cosadd"
    policy: ClassVar[Mapping[str, str]] = {
        "vectors": "of unit length, each word encoded as it is, without a context",
        "candidates": "all words of the file but a, b and c; fewer than the 30,000 or more of a word-vector table, so figures are higher",
        "ties": "the word that comes first in the file",
        "copies": "words whose vectors are equal, as for an encoder without case, are candidates of their own",
        "interval": "95% percentile bootstrap over questions",
    }

    def definitions(self) -> dict[str, str]:
        return {
            "3cosadd": "share of questions answered right by the word of largest cosine with b - a + c",
            "3cosmul": "share of questions answered right by the largest s(d, b) s(d, c) / (s(d, a) + 0.001), s = (cos + 1) / 2",
            "3cosadd_macro": "mean over sections of the share answered right by 3CosAdd",
            "3cosmul_macro": "mean over sections of the share answered right by 3CosMul",
        }

    def read(self, place: str, name: str = "") -> AnalogyTask:
        path = Path(place).expanduser()
        if not path.is_file():
            raise UsageError(f"{path}: no such file; give lines of four words, ': NAME' before each section")
        questions, sections, section = [], [], "all"
        for line, text in lines(path):
            fields = text.split()
            if not fields:
                continue
            if fields[0] == ":" or (fields[0].startswith(":") and len(fields) == 1):
                section = text.strip().lstrip(":").strip() or section
                continue
            if len(fields) != 4:
                raise DataError("a question must be four words, divided by blanks", path=path, line=line, value=text)
            questions.append((fields[0], fields[1], fields[2], fields[3]))
            sections.append(section)
        if not questions:
            raise DataError("the file holds no questions", path=path)
        return AnalogyTask(name or place, questions, sections)

    def __call__(
        self, task: AnalogyTask, encode: Encode, encode_keys: Encode | None = None, *, seed: int = 0, samples: int = SAMPLES
    ) -> Result:
        """Raises DataError where fewer than five words are candidates."""
        known = list(dict.fromkeys([*task.vocabulary, *(word for question in task.questions for word in question)]))
        if len(known) < 5:
            raise DataError(f"task {task.name}: there must be at least five words, so that there is something to choose", value=len(known))
        at = {word: place for place, word in enumerate(known)}
        asked = torch.tensor([[at[word] for word in question] for question in task.questions])
        sides = Sides(encode)
        vectors = sides.queries(known, "words")
        answers = {"3cosadd": _answers(vectors, asked, _sum), "3cosmul": _answers(vectors, asked, _product)}
        names = list(dict.fromkeys(task.sections))
        codes = codes_of(task.sections, names)
        right = {way: (found == asked[:, 3]).double().numpy() for way, found in answers.items()}

        def figures(weights: Floats) -> dict[str, Floats]:
            total, sizes = weights.sum(axis=1), sums_by(weights, codes, len(names))
            drawn = sizes > 0
            found = {way: weights @ values / total for way, values in right.items()}
            for way, values in right.items():
                shares = sums_by(weights * values, codes, len(names)) / np.where(drawn, sizes, 1.0)
                found[f"{way}_macro"] = (shares * drawn).sum(axis=1) / drawn.sum(axis=1)
            return found

        metrics = {name: float(values[0]) for name, values in figures(np.ones((1, len(codes)))).items()}
        columns: dict[str, Any] = {"section": list(task.sections)}
        columns |= {letter: [str(question[i]) for question in task.questions] for i, letter in enumerate("abcd")}
        columns |= {way: [str(known[i]) for i in found.tolist()] for way, found in answers.items()}
        counts = {"questions": len(codes), "sections": len(names), "words": len(known)}
        return result(self, task.name, sides, metrics, weighted_intervals(len(codes), figures, seed, samples), columns, counts, seed)


def _sum(tile: Tile) -> torch.Tensor:
    """cos(d, b - a + c), but for a factor that is the same for all d."""
    return tile.channels["b"] - tile.channels["a"] + tile.scores


def _product(tile: Tile) -> torch.Tensor:
    a, b, c = ((s + 1) / 2 for s in (tile.channels["a"], tile.channels["b"], tile.scores))
    return b * c / (a + EPSILON)


def _answers(vectors: torch.Tensor, asked: torch.Tensor, score: Any) -> torch.Tensor:
    """(Q,) the best word by a tile function of the cosines with a, b and c (the tile's own scores); a, b and c left out."""
    nobody = torch.full((len(asked),), -1)
    pairs = Pairs.labelled(vectors[asked[:, 2]], nobody, vectors, torch.full((len(vectors),), -1))
    channels = {letter: Channel(vectors[asked[:, i]], vectors, Dot()) for i, letter in enumerate("ab")}
    with torch.no_grad():
        top = reduce(score, pairs, channels=channels, it=TopK("rows", k=min(4, len(vectors)))).it
    open_ = (top.ids[:, :, None] != asked[:, None, :3]).all(dim=2) & (top.ids >= 0)
    found: torch.Tensor = top.ids.gather(1, open_.double().argmax(dim=1, keepdim=True))[:, 0]
    return found
