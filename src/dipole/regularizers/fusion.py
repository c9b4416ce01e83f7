"""Fusion: a small transformer reads a text beside an image: do they belong together, and which words were taken out?

    R = 1/3 mean_i [ softplus(-m(t_i, v_i)) + softplus(m(t_j, v_i)) + softplus(m(t_i, v_j')) ] + mean over masked words of CE(y, p)
    y = (1 - alpha) (the word) + alpha p'(word),   p' what the twins say: a slow copy of f on the tokens of a slow copy of the towers
    j ~ softmax_{j != i}(cos(v_i, t_j) / tau),   j' ~ softmax_{j' != i}(cos(v_j', t_i) / tau);   m(t, v) = w . (mean over t of f(t, v)) + b

Shapes: ``tokens`` and ``mask`` of both sides, d = ``dimension``; f (B, L, d), words that attend to each other and to the image. The
second term needs ``words`` above 0 and the side ``masked`` of the view ``masked_words``, with one token a word. Both in nats; items
that share an ``id`` are not drawn against each other. Source: ALBEF, arXiv:2107.07651, section 3.2: matching with hard negatives, and
masked language modelling, with a share alpha of momentum distillation, section 3.3; its fusion is the upper half of BERT, and it draws
by the logits of its contrast.
Relation: ``matching`` sees two vectors, and the hardest negative. Drawing has no gradient. Errors: DegenerateBatchError where an item
has no other to be drawn against; DataError without tokens, and where masked words and tokens differ in number.

>>> from dipole.core.encoded import Encoded
>>> tokens, there = torch.ones(2, 3, 4), torch.ones(2, 3, dtype=torch.bool)
>>> sides = {"queries": Encoded(torch.eye(2), tokens, there), "keys": Encoded(torch.eye(2), tokens, there)}
>>> bool(Fusion(dimension=4, layers=1, heads=2).over_encoded(sides) > 0.636)  # nothing tells them apart: the entropy of one in three
True
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn.functional import cross_entropy, normalize, softplus

from dipole.core.chance import Chance
from dipole.core.encoded import Encoded
from dipole.core.errors import DataError, DegenerateBatchError, ParameterError
from dipole.core.following import follow, twin_of
from dipole.core.part import at_least, between, choice, part, positive
from dipole.core.ramp import Ramp
from dipole.core.vectors import wide
from dipole.regularizers.sides import tokens_of

__all__ = ["Fusion"]


@part
class Fusion(nn.Module):
    """Matching of pairs with drawn corruptions, and masked words, by one transformer."""

    dimension: int = at_least(1, about="d, the length of the towers' tokens")
    layers: int = at_least(1, 2, "blocks of attention among words and to the image")
    heads: int = at_least(1, 4, "attention heads")
    words: int = at_least(0, 0, "classes of masked words, as the view has them; 0: matching alone")
    temperature: float = positive(0.07, "tau: smaller draws the likest more often")
    image: str = choice(("queries", "keys"), "queries", "the side of the images; the other one has the texts")
    share: float = between(0.0, 1.0, 0.0, "alpha: of the twins' answer in what masked words should be; above 0 needs the encoder momentum")
    decay: float = between(0.0, 1.0, 0.995, "share of f's twin that stays, each step")
    ramp: int = at_least(0, 0, "steps over which the twins' share rises from 0 to alpha; 0: alpha from the start")

    reads = ("tokens", "mask")

    def __post_init__(self) -> None:
        d = self.dimension
        if d % self.heads:
            raise ParameterError("fusion", "heads", f"a divisor of dimension, {d}", self.heads)
        if self.share and not self.words:
            raise ParameterError("fusion", "share", "0 without words", self.share, "set words, or share = 0")
        block = nn.TransformerDecoderLayer(d, self.heads, 4 * d, 0.0, nn.functional.gelu, batch_first=True, norm_first=True)
        self.fused = nn.TransformerDecoder(block, self.layers, nn.LayerNorm(d))
        for layer in self.fused.layers:  # nn.TransformerDecoder copies one block; each draws weights of its own
            for weight in layer.parameters():
                if weight.dim() > 1:
                    nn.init.xavier_uniform_(weight)
        self.belongs = nn.Linear(d, 1)
        self.names = nn.Linear(d, self.words) if self.words else None
        self.twin = twin_of(self._live()) if self.share and self.names is not None else None
        self.chance, self.rising = Chance(), Ramp(self.ramp)

    @property
    def asks(self) -> Mapping[str, str]:
        """The sides that the towers' twin must encode."""
        return {} if self.twin is None else {f"{side}_twin": side for side in (self.image, "masked")}

    def after_step(self) -> None:
        """Let the twin follow, and its share rise."""
        self.rising.advance()
        if self.twin is not None:
            follow(self.twin, self._live(), self.decay)

    def over_encoded(self, sides: Mapping[str, Encoded]) -> torch.Tensor:
        """Scalar, float32 or better."""
        other = "keys" if self.image == "queries" else "queries"
        image, text = sides[self.image], sides.get(other)
        if text is None or len(text) != len(image):
            raise DataError("Fusion: needs images and texts that belong together one by one", remedy="use views that give pairs")
        wrong_text, wrong_image = self.drawn(image, text)
        v, t = (tokens_of(sides, name, "Fusion") for name in (self.image, other))
        right = softplus(-self.match(t, v))
        wrong = softplus(self.match(tuple(x[wrong_text] for x in t), v)) + softplus(self.match(t, tuple(x[wrong_image] for x in v)))
        matching = (right + wrong).mean() / 3
        return matching if self.names is None else matching + self._masked(sides, v)

    def match(self, text: tuple[torch.Tensor, ...], image: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """(B,) log odds that text i belongs to image i; both are tokens (B, L, d) and their mask (B, L)."""
        mask = text[1][..., None].to(text[0].dtype)
        mean = (self._read(text, image) * mask).sum(1) / mask.sum(1).clamp(min=1)
        odds: torch.Tensor = self.belongs(mean)[:, 0]
        return odds

    @torch.no_grad()
    def drawn(self, image: Encoded, text: Encoded) -> tuple[torch.Tensor, torch.Tensor]:
        """(B,) a wrong text for each image, and (B,) a wrong image for each text. The next call draws others."""
        v, t = (normalize(wide(side.pooled), dim=1) for side in (image, text))
        same = torch.eye(len(v), dtype=torch.bool, device=v.device)
        for side in (image, text):
            if "id" in side.meta:
                same = same | (side.meta["id"][:, None] == side.meta["id"])
        if bool(same.all(1).any()):
            raise DegenerateBatchError("Fusion: some items have no other to be told from", value=len(v), remedy="raise batch_size")
        scores = (v @ t.T / self.temperature).masked_fill(same, -torch.inf).cpu()
        dice = self.chance.next()
        rows, cols = (torch.multinomial(s.softmax(1), 1, generator=dice)[:, 0].to(v.device) for s in (scores, scores.T))
        return rows, cols

    def _masked(self, sides: Mapping[str, Encoded], image: tuple[torch.Tensor, ...]) -> torch.Tensor:
        masked = sides.get("masked")
        if masked is None or "targets" not in masked.meta or self.names is None:
            raise DataError("Fusion: words is above 0, but there is no side of masked texts", remedy="use the view masked_words")
        tokens, targets = tokens_of(sides, "masked", "Fusion"), masked.meta["targets"]
        if targets.shape != tokens[1].shape:
            raise DataError(
                "Fusion: masked words must be tokens, one each",
                value=(tuple(targets.shape), tuple(tokens[1].shape)),
                remedy="use an encoder whose tokens are words, such as toy.bag, or words = 0",
            )
        if not bool((targets > 0).any()):
            raise DegenerateBatchError("Fusion: no word of the batch is masked", value=len(targets), remedy="raise share of masked_words")
        asked = targets > 0
        logits, words = self.names(self._read(tokens, image)[asked]), targets[asked] - 1
        if self.twin is None:
            return cross_entropy(logits, words)
        with torch.no_grad():
            slow_text, slow_image = (tokens_of(sides, f"{name}_twin", "Fusion") for name in ("masked", self.image))
            soft = self.twin[1](self._read(slow_text, slow_image, self.twin[0])[asked]).softmax(1)
        share = self.share * self.rising.height
        return (1 - share) * cross_entropy(logits, words) + share * cross_entropy(logits, soft)

    def _live(self) -> nn.ModuleList:
        """What the twin is a copy of."""
        return nn.ModuleList([self.fused] if self.names is None else [self.fused, self.names])

    def _read(self, text: tuple[torch.Tensor, ...], image: tuple[torch.Tensor, ...], by: nn.Module | None = None) -> torch.Tensor:
        """(B, L, d): the words, having seen each other and the image."""
        pads = [~(mask | ~mask.any(1, keepdim=True)) for _, mask in (text, image)]  # nothing to attend to would be 0 / 0
        fused: torch.Tensor = (by or self.fused)(text[0], image[0], tgt_key_padding_mask=pads[0], memory_key_padding_mask=pads[1])
        return fused
