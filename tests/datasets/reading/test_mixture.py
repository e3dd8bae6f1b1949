from __future__ import annotations

import math
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.datasets.reading.mixture import Mixture
from tradewind.errors import SpecError

weights = st.lists(st.integers(1, 1000).map(lambda thousandths: thousandths / 1000), min_size=1, max_size=6)


def turns(weights: list[float], count: int) -> list[tuple[int, int]]:
    sources, within = Mixture(weights)(np.arange(count))
    return list(zip(sources.tolist(), within.tolist(), strict=True))


@given(weights)
def test_each_period_holds_each_source_exactly_by_its_weight(weights: list[float]) -> None:
    mixture = Mixture(weights)
    period = sum(mixture.weights)
    shares = [Fraction(str(weight)) for weight in weights]
    assert [Fraction(count, period) for count in mixture.weights] == [share / sum(shares) for share in shares]
    for number in range(3):
        sources, _ = mixture(np.arange(number * period, (number + 1) * period))
        assert np.bincount(sources).tolist() == mixture.weights


@given(weights, st.integers(1, 3000))
def test_source_is_never_more_than_a_sample_per_other_source_from_its_share(weights: list[float], count: int) -> None:
    sources, _ = Mixture(weights)(np.arange(count))
    so_far = np.cumsum(sources[:, None] == np.arange(len(weights)), axis=0)
    shares = np.arange(1, count + 1)[:, None] * (np.array(weights) / math.fsum(weights))
    assert np.abs(so_far - shares).max() <= max(1, len(weights) - 1)


@given(weights, st.integers(1, 3000))
def test_each_source_is_read_in_its_own_order_without_a_gap(weights: list[float], count: int) -> None:
    found = turns(weights, count)
    for source in range(len(weights)):
        within = [position for number, position in found if number == source]
        assert within == list(range(len(within)))


@given(weights, st.lists(st.integers(0, 10**15), min_size=1, max_size=20))
def test_any_position_is_computed_by_itself(weights: list[float], positions: list[int]) -> None:
    mixture = Mixture(weights)
    sources, within = mixture(np.array(positions))
    for number, position in enumerate(positions):
        alone = mixture(np.array([position]))
        assert (alone[0][0], alone[1][0]) == (sources[number], within[number])
        before, at = divmod(position, sum(mixture.weights))
        in_period, _ = mixture(np.arange(at))
        assert within[number] == before * mixture.weights[sources[number]] + (in_period == sources[number]).sum()


def test_seven_and_three_tenths_are_seven_and_three_of_ten() -> None:
    assert Mixture([0.7, 0.3]).weights == [7, 3]
    assert [source for source, _ in turns([0.7, 0.3], 10)] == [0, 1, 0, 0, 0, 1, 0, 0, 1, 0]
    assert Counter(source for source, _ in turns([0.7, 0.3], 10**4)) == {0: 7000, 1: 3000}


@pytest.mark.parametrize(
    ("weights", "counts"),
    [([1], [1]), ([2, 2], [1, 1]), ([1, 1e-5], [100_000, 1]), ([0.1, 0.2, 0.7], [1, 2, 7]), ([300, 500], [3, 5])],
)
def test_weights_become_the_smallest_whole_numbers(weights: list[float], counts: list[int]) -> None:
    assert Mixture(weights).weights == counts


def test_mixture_is_the_same_in_every_release() -> None:
    assert [source for source, _ in turns([0.5, 0.3, 0.2], 10)] == [0, 1, 2, 0, 0, 1, 0, 2, 1, 0]


@pytest.mark.parametrize("weights", [[0.5, 0], [1, -1], [float("nan")], [float("inf"), 1]])
def test_weights_that_are_not_positive_are_refused(weights: list[float]) -> None:
    with pytest.raises(SpecError, match="weights are positive numbers"):
        Mixture(weights)


@pytest.mark.parametrize("weights", [[1 / 3, 1 / 7], [1, 1e-7]])
def test_weights_without_a_short_pattern_are_refused(weights: list[float]) -> None:
    with pytest.raises(SpecError, match="too many digits") as caught:
        Mixture(weights)
    assert "round" in str(caught.value.hint)
