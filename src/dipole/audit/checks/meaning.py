"""What a teacher says: rows that mean the same, negatives that score like positives, pairs and labels that stand out.

A teacher is an encoder; its vectors are compared by cosine. At most ``most`` rows are looked at, spread evenly over the data. None
of this is proof: ``--fix`` drops nothing because a teacher says so.

Labels: each row is guessed from its 10 nearest others (itself left out), their votes weighted by cosine. It is suspect where another
class has at least that class's usual share of its own rows' votes (confident learning: Northcutt et al. 2021, JAIR 70, section 3.1)
and half of them, and its own class less than a fifth.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import torch

from dipole.audit.check import Block, Cleaning, shown
from dipole.audit.findings import Finding
from dipole.audit.source import Source
from dipole.pairwise import topk_search

Encode = Callable[[Sequence[str], str], torch.Tensor]  # texts, side (queries or keys) -> (N, d), any length
NEAR = 0.97  # cosine of both anchors and positives from which on rows mean the same
_NEIGHBOURS = 10
_DEVIATIONS = 4.0  # robust standard deviations below the median from which on a pair stands out


class Meaning:
    """Vectors of the chosen rows' anchors and positives: 4 bytes a number."""

    def __init__(self, name: str, encode: Encode, most: int = 20_000) -> None:
        self.name, self.most = name, most
        self._encode = encode
        self.total = 0
        self.at: list[int] = []
        self.labels: list[str] = []
        self.firsts: list[str] = []
        self.content: list[int] = []
        self.anchors: list[torch.Tensor] = []
        self.positives: list[torch.Tensor] = []
        self.above: list[tuple[int, str, float, float]] = []
        self._usable: list[int] = []
        self._chosen: set[int] = set()

    def see(self, block: Block) -> None:
        self._usable += [index for index, _, _ in block]

    def wants(self) -> Collection[int]:
        self.total = len(self._usable)
        step = max(1.0, self.total / self.most)
        self._chosen = {self._usable[int(k * step)] for k in range(min(self.total, self.most))}
        self._usable = []
        return self._chosen

    def see_again(self, block: Block) -> None:
        rows = [(index, item, texts) for index, item, texts in block if index in self._chosen]
        if not rows:
            return
        anchors = self._unit([item.of("anchor")[0] for _, item, _ in rows], "queries")
        self.at += [index for index, _, _ in rows]
        self.labels += [item.label for _, item, _ in rows]
        self.firsts += [item.of("anchor")[0] for _, item, _ in rows]
        self.content += [hash(tuple(texts)) for _, _, texts in rows]
        self.anchors.append(anchors)
        if not rows[0][1].of("positive"):
            return
        positives = self._unit([item.of("positive")[0] for _, item, _ in rows], "keys")
        self.positives.append(positives)
        owned = [(place, text) for place, (_, item, _) in enumerate(rows) for text in item.of("negative")]
        if owned:
            places = torch.tensor([place for place, _ in owned])
            scores = (self._unit([text for _, text in owned], "keys") * anchors[places]).sum(1)
            own = (positives * anchors).sum(1)[places]
            self.above += [
                (rows[place][0], text, float(s), float(p))
                for (place, text), s, p in zip(owned, scores.tolist(), own.tolist(), strict=True)
                if s >= p
            ]

    def findings(self, source: Source, cleaning: Cleaning) -> Iterator[Finding]:
        anchors = torch.cat(self.anchors) if self.anchors else torch.empty(0, 1)
        positives = torch.cat(self.positives) if self.positives else None
        for index, text, score, own in sorted(self.above):
            said = f"a negative scores {score:.2f}, the positive {own:.2f}, by {self.name}: {shown(text)}"
            yield from source.found("positive-as-negative", [index], said)
        if len(anchors) > 1:
            yield from self._alike(anchors, positives, source)
        if positives is not None and len(anchors) >= 20:
            yield from self._apart((anchors * positives).sum(1), (anchors * positives.roll(1, 0)).sum(1), source)
        if len(set(self.labels)) > 1 and len(anchors) > _NEIGHBOURS:
            yield from self._labels(anchors, source)

    def notes(self) -> list[str]:
        return [f"{self.name} looked at {len(self.at)} of {self.total} rows"]

    def _alike(self, anchors: torch.Tensor, positives: torch.Tensor | None, source: Source) -> Iterator[Finding]:
        """Each row against the nearest earlier one of another content."""
        top = topk_search(anchors, anchors, k=min(6, len(anchors)))
        for row, (ids, cosines) in enumerate(zip(top.ids.tolist(), top.values.tolist(), strict=True)):
            for other, cosine in zip(ids, cosines, strict=True):
                if cosine < NEAR:
                    break
                same = 1.0 if positives is None else float(positives[row] @ positives[other])
                if (
                    0 <= other < row
                    and same >= NEAR
                    and self.content[row] != self.content[other]
                    and self.labels[row] == self.labels[other]
                ):
                    said = f"means the same as {source.named(self.at[other])} by {self.name} (cosine {min(cosine, same):.3f})"
                    yield from source.found("near-duplicate", [self.at[row]], said)
                    break

    def _apart(self, own: torch.Tensor, others: torch.Tensor, source: Source) -> Iterator[Finding]:
        """Pairs far below the usual cosine, and no closer than strangers."""
        middle = own.median()
        deviation = 1.4826 * (own - middle).abs().median()
        limit = min(float(middle - _DEVIATIONS * deviation), float(others.double().quantile(0.95)))
        for place in (own < limit).nonzero().flatten().tolist():
            said = f"anchor and positive have cosine {float(own[place]):.2f} by {self.name}, usual is {float(middle):.2f}"
            yield from source.found("label-suspect", [self.at[place]], f"{said}: {shown(self.firsts[place])}")

    def _labels(self, anchors: torch.Tensor, source: Source) -> Iterator[Finding]:
        names = sorted(set(self.labels))
        given = torch.tensor([names.index(label) for label in self.labels])
        top = topk_search(anchors, anchors, k=_NEIGHBOURS + 1)
        others = (top.ids != torch.arange(len(anchors))[:, None]) & (top.ids >= 0)
        weights = top.values.clamp(min=0) * others
        votes = torch.zeros(len(anchors), len(names)).scatter_add_(1, given[top.ids.clamp(min=0)], weights)
        shares = votes / votes.sum(1, keepdim=True).clamp(min=1e-12)
        own = shares.gather(1, given[:, None]).squeeze(1)
        usual = torch.stack([own[given == c].mean() for c in range(len(names))])
        confident = shares.masked_fill(shares < usual.clamp(min=0.5), 0.0)
        best, guess = confident.max(1)
        suspect = (best > 0) & (guess != given) & (own < 0.2)
        for place in suspect.nonzero().flatten().tolist():
            said = f"labelled {names[int(given[place])]}, {float(best[place]):.0%} of its neighbours' votes by {self.name} say"
            yield from source.found("label-suspect", [self.at[place]], f"{said} {names[int(guess[place])]}: {shown(self.firsts[place])}")

    def _unit(self, texts: Sequence[str], side: str) -> Any:
        return torch.nn.functional.normalize(self._encode(texts, side).float(), dim=-1)
