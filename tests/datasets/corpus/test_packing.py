from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.datasets.corpus.packing import UINT16_VOCABULARY, Packer, token_type


@given(st.lists(st.integers(0, 5000), max_size=12), st.sampled_from(["uint16", "uint32"]))
def test_pieces_are_full_but_for_the_last_and_hold_everything_in_order(lengths: list[int], name: str) -> None:
    dtype = np.dtype(name)
    numbers = np.arange(sum(lengths), dtype=dtype)
    arrays = np.split(numbers, np.cumsum(lengths)[:-1]) if lengths else []
    packer = Packer(dtype, shard_bytes=4096)
    pieces = [piece for array in arrays for piece in packer.add(array)]
    rest = list(packer.rest())
    assert all(len(piece) == 4096 // dtype.itemsize for piece in pieces)
    assert all(0 < len(piece) < 4096 // dtype.itemsize for piece in rest)
    assert len(rest) <= 1
    joined = np.concatenate([*pieces, *rest]) if pieces or rest else numbers[:0]
    assert (joined == numbers).all()


@pytest.mark.parametrize(
    ("vocabulary", "dtype"), [(257, "uint16"), (UINT16_VOCABULARY, "uint16"), (UINT16_VOCABULARY + 1, "uint32")]
)
def test_tokens_have_the_smallest_type_that_holds_them(vocabulary: int, dtype: str) -> None:
    assert token_type(vocabulary) == np.dtype(dtype)
    assert np.array([vocabulary - 1], dtype=token_type(vocabulary))[0] == vocabulary - 1
