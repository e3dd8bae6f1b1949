"""Long texts in pieces, because encoding takes some 150 bytes of memory for each byte of what is encoded at once.

A text is cut in front of a blank or a line end behind a letter or digit, where words end in every usual tokenizer; and
only where the tokenizer itself gives the same ids for what is around the cut, with the cut and without it.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator

PIECE = 2**18
"""Characters; shorter texts are whole."""
AROUND = 64
SEARCH = 4096
CANDIDATES = 16

_EDGE = re.compile(r"(?<=[^\W_])(?=[ \n])")


def pieces(text: str, *, may_cut: Callable[[str, str], bool] = lambda _before, _after: True) -> Iterator[str]:
    """The text in pieces of about `PIECE`, longer where there is no good place to cut."""
    start = 0
    for place in range(PIECE, len(text) - PIECE, PIECE):
        if place <= start:
            continue
        edges = (edge.start() for edge in _EDGE.finditer(text, place, place + SEARCH))
        for cut in itertools.islice(edges, CANDIDATES):
            if may_cut(text[max(start, cut - AROUND) : cut], text[cut : cut + AROUND]):
                yield text[start:cut]
                start = cut
                break
    yield text[start:]
