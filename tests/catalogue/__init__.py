"""Every loss with a batch it is defined on: the list the contract tests walk, one module a folder of ``dipole.losses``.

A loss module that is missing here turns ``test_every_loss_is_in_the_catalogue`` red.
"""

import importlib
import pkgutil

from tests.catalogue.case import PAIRS, Case

LOSSES: dict[str, Case] = {}
for _module in sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name != "case"):
    _cases = importlib.import_module(f"tests.catalogue.{_module}").CASES
    assert not set(_cases) & set(LOSSES), f"{_module} repeats a name"
    LOSSES |= _cases


def loss_of(name):
    """A fresh loss of the catalogue."""
    return LOSSES[name].make()


def pairs_for(name, queries, keys, labels=None, negatives=None, owner=None):
    """The pairs a loss of the catalogue takes, from aligned sides."""
    kind = PAIRS[LOSSES[name].pairs]
    pairs = kind.whole(queries, keys, labels)
    return pairs if negatives is None or kind.negatives is None else kind.negatives(pairs, negatives, owner)


def ring_pairs_for(name, queries, keys, labels, ring):
    """The same on a ring: local vectors, global relations."""
    return PAIRS[LOSSES[name].pairs].ring(queries, keys, labels, ring)
