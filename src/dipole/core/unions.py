"""Things that hang together: a forest in which every thing points to another one of its group, and the root to itself."""

from __future__ import annotations


def root(parent: list[int] | dict[int, int], thing: int) -> int:
    """The root of a thing's group; the way there is shortened. Groups are joined by pointing one's root to the other's.

    >>> parent = [0, 0, 1, 3]
    >>> root(parent, 2), root(parent, 3), parent
    (0, 3, [0, 0, 0, 3])
    """
    while parent[thing] != thing:
        parent[thing] = thing = parent[parent[thing]]
    return thing
