"""Where ``healthy`` ends and ``ill`` begins, and why there.

Bounds were set where trained and untrained encoders part: the packaged all-MiniLM-L6-v2 on three kinds of text, and the same network
with random weights (``bench/results/diagnostics.json``). They are rules of thumb with wide margins.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Bound:
    """Where ``healthy`` ends and where ``ill`` begins, in whichever direction; ``why`` there."""

    good: float
    bad: float
    why: str

    def status(self, value: float) -> str:
        """``healthy``, ``watch`` or ``ill``."""
        up = self.bad > self.good  # the larger, the worse
        if value <= self.good if up else value >= self.good:
            return "healthy"
        return "ill" if (value > self.bad if up else value < self.bad) else "watch"

    @property
    def text(self) -> str:
        """The healthy range in words."""
        return f"{'at most' if self.bad > self.good else 'at least'} {self.good:g}"


BOUNDS = {
    "alignment": Bound(
        0.6, 0.9, "1 is where a positive lies as far as a stranger; entailments have 0.36 with all-MiniLM-L6-v2, 0.76 with random weights"
    ),
    "uniformity": Bound(
        -2.0,
        -1.0,
        "-4 is what orthogonal vectors have; all-MiniLM-L6-v2 has -2.9 on one topic, -3.8 on mixed texts, random weights -0.1 to -0.2",
    ),
    "effective rank": Bound(
        0.35, 0.1, "as a share of what isotropic vectors have; all-MiniLM-L6-v2 has 0.61 to 0.83, random weights 0.17 to 0.24"
    ),
    "isotropy": Bound(
        0.05,
        0.01,
        "1 / (d - 1) for each direction that carries variance; all-MiniLM-L6-v2 has 0.09 to 0.39; by itself it does not explain quality",
    ),
    "anisotropy": Bound(
        0.3, 0.7, "two strangers should have a cosine near 0; all-MiniLM-L6-v2 has 0.03 to 0.21, random weights 0.95 to 0.96"
    ),
    "hubness": Bound(
        1.4,
        3.0,
        "1.4 is commonly called high (Feldbauer & Flexer 2019); all-MiniLM-L6-v2 has 0.8 to 1.2, random weights 1.7 to 2.9",
    ),
    "overlap": Bound(
        0.25,
        0.6,
        "0 is where one threshold parts pairs from strangers; entailments have 0.06 with all-MiniLM-L6-v2, 0.70 with random weights",
    ),
    "confused": Bound(
        0.5,
        0.85,
        "share of queries that rank a stranger above their positive, and so grows with the rows; among 800 entailments it is 0.28 with "
        "all-MiniLM-L6-v2, 0.88 with random weights",
    ),
    "gap between sides": Bound(
        0.85,
        1.01,
        "accuracy of a line that tells the sides apart on held-out pairs; 0.5 is none, and sides that differ in kind reach 1, unharmed in "
        "retrieval from one to the other",
    ),
    "false negatives": Bound(
        0.01, 0.1, "above 1% of rows with a copy of another row's positive, batches hold false negatives often enough to hurt"
    ),
    "length bias": Bound(
        0.2,
        0.4,
        "rank correlation with the difference in length; for pairs of equal meaning it should be 0, and 0.2 is 4% of the ranks' variance",
    ),
    "overlap bias": Bound(0.4, 0.7, "rank correlation with the share of common words; related texts share words too, so some is natural"),
    "given negatives": Bound(
        0.1, 0.3, "share of queries one of whose given negatives scores as high as the positive: often an unmarked positive"
    ),
    "truncation": Bound(0.01, 0.2, "what is cut off cannot be found; dwell curves (dipole evaluate) say how much of a text is heard"),
    "loss": Bound(0.9, 0.99, "as a share of log N, the loss of guessing among N candidates"),
}
