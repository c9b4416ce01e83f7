"""Statistics of the own rows or columns as metadata of a second pass.

A loss that compares every candidate with its row's positive, or weighs it by its row's normaliser, computes that number first
and hands it to the tile function as metadata. A process knows it for its own rows and columns only: what a tile function
sees elsewhere is 0, and no reduction of the own rows (or columns) reads it.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch.nn.functional import pad

from dipole.core.pairs import Pairs


def note_rows(pairs: Pairs, **values: torch.Tensor) -> Pairs:
    """``values`` (own rows,) as ``tile.rows[name]``, gradients included, for reductions per row."""
    return replace(pairs, rows={**pairs.rows, **{name: _spread(pairs, v, pairs.own_rows, pairs.shape[0]) for name, v in values.items()}})


def note_cols(pairs: Pairs, **values: torch.Tensor) -> Pairs:
    """``values`` (own columns,) as ``tile.cols[name]``, gradients included, for reductions per column."""
    return replace(pairs, cols={**pairs.cols, **{name: _spread(pairs, v, pairs.own_cols, pairs.shape[1]) for name, v in values.items()}})


def _spread(pairs: Pairs, values: torch.Tensor, own: slice, length: int) -> torch.Tensor:
    if pairs.ring is not None and values.requires_grad:
        return values  # held like vectors: the own ones
    return pad(values, (own.start, length - own.stop))


def note_positive_scores(pairs: Pairs) -> Pairs:
    """The score of each row's one positive as ``tile.rows["positive_score"]``, and as ``tile.cols[...]`` of that positive.

    Columns that are nobody's positive hold 0. Raises DataError unless the pairs are aligned.
    """
    scores = pairs.positive_scores()
    places = torch.arange(pairs.own_cols.stop - pairs.own_cols.start, device=scores.device)
    first = int(pairs.at_positive(places)[0]) if len(scores) else 0
    of_cols = pad(scores, (first, len(places) - first - len(scores)))
    return note_cols(note_rows(pairs, positive_score=scores), positive_score=of_cols)
