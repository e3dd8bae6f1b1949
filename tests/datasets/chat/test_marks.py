from __future__ import annotations

import numpy as np
import pytest

from tradewind.datasets import boundaries
from tradewind.datasets.chat import CONTEXT_BIT, END_BIT, split

END = 7


def test_marks_come_off_tokens() -> None:
    tokens = np.array([[5 | CONTEXT_BIT, 6, END | END_BIT, END | CONTEXT_BIT | END_BIT]], dtype=np.uint32)
    ids, trained = split(tokens)
    assert ids.tolist() == [[5, 6, END, END]]
    assert trained.tolist() == [[False, True, True, False]]
    assert ids.dtype == np.int32


@pytest.mark.parametrize("dtype", ["uint16", "uint32"])
def test_text_is_trained_on_whole(dtype: str) -> None:
    ids, trained = split(np.array([[5, 65535]], dtype=dtype))
    assert (ids.tolist(), trained.tolist()) == ([[5, 65535]], [[True, True]])


def test_conversation_ends_where_it_says_and_not_at_each_end_of_text() -> None:
    chat = [5 | CONTEXT_BIT, END, 6 | CONTEXT_BIT, END | END_BIT, 5 | CONTEXT_BIT, END | END_BIT, END | CONTEXT_BIT]
    text = [5, END, 6, END, 5, 6, 6]
    found = boundaries(np.array([chat, text], dtype=np.uint32), end_of_text=END)
    assert found.tolist() == [[0, 0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 2, 2, 2]]
