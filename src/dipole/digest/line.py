r"""Text from outside on one line, without what cannot be seen.

>>> one_line("Graph\r\nBcc: all@example.org"), one_line("trans\u00adformers \u202e")
('Graph Bcc: all@example.org', 'transformers')
"""

from __future__ import annotations

import unicodedata

_JOINERS = "\u200c\u200d"  # spell words in Persian and Hindi, and make one emoji of several


def one_line(text: str) -> str:
    """Controls, line ends and unassigned characters become spaces; marks without width, such as soft hyphens and those that turn the
    direction of writing, go; runs of spaces become one.
    """
    return " ".join("".join(map(_seen, text)).split())


def _seen(c: str) -> str:
    if c in _JOINERS:
        return c
    kind = unicodedata.category(c)
    return "" if kind == "Cf" else " " if kind[0] in "CZ" else c
