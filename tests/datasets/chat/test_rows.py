from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.datasets.blocks import Tokens
from tradewind.datasets.chat.marks import CONTEXT_BIT, END_BIT, split
from tradewind.datasets.chat.rows import ROWS_AT_ONCE, RowPacker, best_fit
from tradewind.records import ChatSplit

CONTEXT, END = 8, 0


def packer(*, cuts: bool = True, shard_bytes: int = 4 * (2 * CONTEXT + 1)) -> RowPacker:
    return RowPacker(context=CONTEXT, end=END, shard_bytes=shard_bytes, cuts=cuts)


def conversation(number: int, length: int, *, prompt: int = 1) -> Tokens:
    """`length` times the same id; the first `prompt` are only seen, and the last one ends it."""
    tokens = np.full(length, number, dtype=np.uint32)
    tokens[:prompt] |= CONTEXT_BIT
    tokens[-1] |= END_BIT
    return tokens


def packed(conversations: list[Tokens], one: RowPacker) -> list[Tokens]:
    return [*(shard for some in conversations for shard in one.add(some)), *one.rest()]


def rows_of(shards: list[Tokens]) -> Tokens:
    """The samples of training without what they share."""
    return np.concatenate([shard[:-1].reshape(-1, CONTEXT) for shard in shards])


@given(st.lists(st.integers(1, 20), max_size=60))
def test_lengths_share_rows_and_none_is_left_or_overfull(lengths: list[int]) -> None:
    rows = best_fit(lengths, 20)
    assert sorted(number for row in rows for number in row) == list(range(len(lengths)))
    assert all(sum(lengths[number] for number in row) <= 20 for row in rows)
    assert len(rows) <= max(-(-sum(lengths) // 20) * 11 / 9 + 4, 2 * sum(lengths) / 20 + 1)


def test_longest_come_first_and_go_where_they_fit_best() -> None:
    assert best_fit([3, 8, 5, 2, 4, 2], 8) == [[1], [2, 0], [4, 3, 5]]


@given(st.lists(st.integers(2, CONTEXT), min_size=1, max_size=3 * ROWS_AT_ONCE))
def test_conversations_are_whole_and_each_in_one_row(lengths: list[int]) -> None:
    one = packer()
    shards = packed([conversation(number, length) for number, length in enumerate(lengths, 1)], one)
    assert all(len(shard) % CONTEXT == 1 and len(shard) <= 2 * CONTEXT + 1 for shard in shards)
    rows = rows_of(shards)
    ids, trained = split(rows)
    for number, length in enumerate(lengths, 1):
        found, places = np.nonzero(ids == number)
        assert len(set(found)) == 1
        assert places.tolist() == list(range(places[0], places[0] + length))
    assert (rows[:, 0] & CONTEXT_BIT != 0).all()
    assert all(shard[-1] & CONTEXT_BIT for shard in shards)
    assert one.counts == ChatSplit(
        rows=len(rows), trained=int(trained.sum()), padding=int((rows == (END | CONTEXT_BIT)).sum())
    )
    assert int((rows & END_BIT != 0).sum()) == len(lengths)


def test_what_is_too_long_is_cut_and_not_learned_to_end_there() -> None:
    one = packer()
    (row,) = rows_of(packed([conversation(5, 30, prompt=3)], one))
    ids, trained = split(row)
    assert ids.tolist() == [5] * 7 + [END]
    assert trained.tolist() == [False] * 3 + [True] * 4 + [False]
    assert row[-1] & END_BIT
    assert (one.counts.cut, one.counts.trained, one.counts.dropped) == (1, 4, 0)


@pytest.mark.parametrize(("prompt", "cuts"), [(3, False), (7, True)])
def test_what_is_too_long_to_learn_from_is_dropped_and_counted(prompt: int, cuts: bool) -> None:
    one = packer(cuts=cuts)
    assert packed([conversation(5, 30, prompt=prompt)], one) == []
    assert one.counts == ChatSplit(dropped=1)


def test_little_is_padded() -> None:
    draw = np.random.default_rng(0)
    one = RowPacker(context=1024, end=END, shard_bytes=2**20, cuts=True)
    packed([conversation(5, int(length)) for length in draw.integers(20, 700, 2000)], one)
    assert one.counts.padding < 0.01 * one.counts.rows * 1024
