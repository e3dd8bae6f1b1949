from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.datasets import Permutation

sizes = st.integers(1, 5000)
seeds = st.integers(0, 2**63)


def order(size: int, *, seed: int = 0, epoch: int = 0) -> list[int]:
    return [int(value) for value in Permutation(size, seed=seed, epoch=epoch)(np.arange(size))]


@given(sizes, seeds, st.integers(0, 1000))
def test_each_value_comes_exactly_once(size: int, seed: int, epoch: int) -> None:
    assert sorted(order(size, seed=seed, epoch=epoch)) == list(range(size))


@given(st.integers(10**6, 10**12), seeds, st.integers(0, 2**32))
def test_huge_orders_stay_in_bounds_and_never_repeat(size: int, seed: int, sample: int) -> None:
    positions = np.unique(np.random.default_rng(sample).integers(0, size, 2000))
    values = Permutation(size, seed=seed, epoch=0)(positions)
    assert values.min() >= 0
    assert values.max() < size
    assert len(np.unique(values)) == len(positions)


@given(sizes, seeds, st.data())
def test_a_position_does_not_depend_on_what_else_is_asked(size: int, seed: int, data: st.DataObject) -> None:
    position = data.draw(st.integers(0, size - 1))
    permutation = Permutation(size, seed=seed, epoch=3)
    assert permutation(np.array([position]))[0] == permutation(np.arange(size))[position]


def test_seed_and_epoch_change_the_order() -> None:
    orders = {tuple(order(100, seed=seed, epoch=epoch)) for seed in range(10) for epoch in range(10)}
    assert len(orders) == 100


def test_order_is_the_same_in_every_release() -> None:
    """A run that resumes under a newer program must go on where it was."""
    assert order(12, seed=7, epoch=1) == [2, 4, 5, 8, 9, 1, 11, 3, 0, 10, 7, 6]


def test_values_are_spread_evenly() -> None:
    """Where the first tenth of the positions goes: each tenth of the values gets its share, over many seeds."""
    counts = np.zeros(10)
    for seed in range(50):
        counts += np.histogram(Permutation(1000, seed=seed, epoch=0)(np.arange(100)), bins=10, range=(0, 1000))[0]
    assert counts.sum() == 5000
    assert np.abs(counts - 500).max() < 100  # about 4.7 standard deviations


def test_asking_leaves_the_positions_as_they_were() -> None:
    positions = np.arange(50)
    Permutation(50, seed=0, epoch=0)(positions)
    assert (positions == np.arange(50)).all()


def test_empty_question_has_an_empty_answer() -> None:
    assert len(Permutation(50, seed=0, epoch=0)(np.array([], dtype=np.int64))) == 0


def test_nothing_cannot_be_ordered() -> None:
    with pytest.raises(ValueError, match="at least 1, not 0"):
        Permutation(0, seed=0, epoch=0)
