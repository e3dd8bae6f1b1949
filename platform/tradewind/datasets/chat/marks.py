"""What a token of a conversation says beside its id, in the two highest bits of its 32.

So order, certificates, copies and the cache treat conversations as they treat text, and marks never part from tokens.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from tradewind.datasets.blocks import Tokens

CONTEXT_BIT: Final = 1 << 31
"""Seen, and not trained on: a prompt, words of the template, padding. The first token of each row has it."""
END_BIT: Final = 1 << 30
"""The last token of a conversation. The end of text alone does not tell, many templates end each answer with it."""
MOST_TOKENS: Final = END_BIT

DTYPE: Final = np.dtype(np.uint32)


def split(tokens: Tokens) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """The ids of tokens, and which of them are trained on. Of text, which has no marks, all are."""
    if tokens.dtype.itemsize < DTYPE.itemsize:
        return tokens.astype(np.int32), np.ones(tokens.shape, dtype=np.bool_)
    return (tokens & np.uint32(END_BIT - 1)).astype(np.int32), tokens < CONTEXT_BIT
