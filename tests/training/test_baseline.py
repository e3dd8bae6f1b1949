from __future__ import annotations

import math
import random
import uuid
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.samples import VOCABULARY, dataset_spec, write_text
from tradewind.datasets import Datasets, Samples
from tradewind.errors import SpecError
from tradewind.storage import open_store
from tradewind.training.baseline import LARGEST_VOCABULARY, Bigram, bigram_loss

SIZE = 7
streams = st.lists(st.integers(0, SIZE - 1), min_size=2, max_size=60)


def by_hand(training: list[list[int]], judged: list[list[int]], size: int) -> float:
    """Witten-Bell smoothing with dictionaries, one token at a time."""
    pairs = Counter(pair for stream in training for pair in pairwise(stream))
    seconds = Counter(token for stream in training for token in stream[1:])
    losses = []
    for row in judged:
        for before, after in pairwise(row):
            single = (seconds[after] + 1) / (seconds.total() + size)
            follow = sum(count for (first, _), count in pairs.items() if first == before)
            kinds = len([first for first, _ in pairs if first == before])
            chance = (pairs[before, after] + kinds * single) / (follow + kinds) if kinds else single
            losses.append(-math.log(chance))
    return sum(losses) / len(losses)


def counted(training: list[list[int]], size: int = SIZE) -> Bigram:
    bigram = Bigram(size)
    for stream in training:
        bigram.count(np.array(stream))
    return bigram


@given(st.lists(streams, min_size=1, max_size=3), st.lists(st.integers(0, SIZE - 1), min_size=4, max_size=4))
def test_loss_is_that_of_counting_by_hand(training: list[list[int]], row: list[int]) -> None:
    judged = [row, row[::-1]]
    assert counted(training).loss(np.array(judged)) == pytest.approx(by_hand(training, judged, SIZE))


@given(st.lists(streams, min_size=1, max_size=2), st.integers(0, SIZE - 1))
def test_chances_of_all_next_tokens_add_up_to_one(training: list[list[int]], before: int) -> None:
    bigram = counted(training)
    chances = [math.exp(-bigram.loss(np.array([[before, after]]))) for after in range(SIZE)]
    assert sum(chances) == pytest.approx(1)


def test_context_that_was_never_seen_falls_back_to_single_tokens() -> None:
    bigram = counted([[0, 1, 0, 1, 0]])
    assert bigram.loss(np.array([[5, 1]])) == pytest.approx(-math.log((2 + 1) / (4 + SIZE)))


def test_text_with_order_is_predicted_better_than_by_chance() -> None:
    draw = random.Random(1)
    stream = [0]
    for _ in range(4000):
        stream.append((stream[-1] + draw.choice((1, 1, 1, 2))) % SIZE)
    loss = counted([stream[:3000]]).loss(np.array([stream[3000:]]))
    assert loss == pytest.approx(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)), abs=0.1)
    assert loss < math.log(SIZE) / 2


def test_stream_counted_in_pieces_is_the_stream_counted_whole(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    store = open_store(f"memory://{uuid.uuid4().hex}")
    dataset = Datasets(store).add(dataset_spec(write_text(tmp_path)))
    whole = bigram_loss(dataset, tokens_per_sequence=16)
    monkeypatch.setattr("tradewind.training.baseline.PAIRS_AT_ONCE", 100)
    assert bigram_loss(dataset, tokens_per_sequence=16) == whole
    assert whole is not None
    assert 0 < whole < math.log(VOCABULARY)
    heldout = Samples(dataset, "heldout", width=17)
    training = [shard.tolist() for shard in dataset.shards("train")]
    rows = heldout.read(range(heldout.size)).astype(np.int64)
    judged = rows.tolist()[:20]
    bigram = counted(training, VOCABULARY)
    assert bigram.loss(np.array(judged)) == pytest.approx(by_hand(training, judged, VOCABULARY))
    assert bigram.loss(rows) == pytest.approx(whole)


def test_vocabulary_without_room_for_a_table_is_refused() -> None:
    with pytest.raises(SpecError, match=f"a bigram table for {LARGEST_VOCABULARY + 1} tokens is too large"):
        Bigram(LARGEST_VOCABULARY + 1)


def test_vocabulary_without_room_for_a_table_has_no_baseline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    store = open_store(f"memory://{uuid.uuid4().hex}")
    dataset = Datasets(store).add(dataset_spec(write_text(tmp_path)))
    monkeypatch.setattr("tradewind.training.baseline.LARGEST_VOCABULARY", VOCABULARY - 1)
    assert bigram_loss(dataset, tokens_per_sequence=16) is None
