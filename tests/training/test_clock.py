"""What ranks agree on once a step."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training.conftest import Ranks
from tradewind.training.clock import Clock, Progress, Said, join_words, split_words

words = st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=4).map(lambda each: np.array(each, dtype=np.uint64))


@given(words)
def test_words_survive_being_split(given_words: np.ndarray) -> None:
    assert (join_words(split_words(given_words)) == given_words).all()


@given(words)
def test_sums_of_halves_are_sums_of_words(given_words: np.ndarray) -> None:
    halves = [3 * half for half in split_words(given_words)]
    assert (join_words(halves) == given_words * np.uint64(3)).all()


@pytest.mark.slow
def test_all_ranks_agree_on_the_same_numbers(ranks: Ranks) -> None:
    one, other = ranks.run(agree, world=2)
    assert one == other
    step_s, wishes, progress = one
    assert progress.loss == 3.0
    assert progress.seconds > 5.0
    assert wishes == (1.0, 2.0)
    assert step_s > 0


def agree() -> tuple[float, tuple[float, ...], Progress]:
    import torch.distributed as dist

    rank = dist.get_rank()
    progress = Progress(seconds=5.0, attempt="a")
    clock = Clock(progress)
    with clock.stopped():
        time.sleep(0.05)
    said = Said(loss=1.0 + rank, digest=np.array([rank], dtype=np.uint64), wishes=(float(rank), 1.0))
    agreed = clock.agree(progress, said)
    assert agreed.digest.tolist() == [1]
    return agreed.step_s, agreed.wishes, progress
