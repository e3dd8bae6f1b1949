from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tradewind.planner.choice.front import pareto_front

ROWS = st.integers(1, 40).flatmap(
    lambda rows: arrays(float, (rows, 3), elements=st.sampled_from([0.0, 1.0, 2.0, 3.0, np.inf, np.nan]))
)


def beats(one: np.ndarray, other: np.ndarray) -> bool:
    one, other = (np.nan_to_num(row, nan=np.inf, posinf=np.inf) for row in (one, other))
    return bool((one <= other).all() and (one < other).any())


@given(ROWS)
def test_nothing_on_the_front_is_beaten(rows: np.ndarray) -> None:
    front = pareto_front(rows)
    assert not any(beats(other, rows[index]) for index in front for other in rows)


@given(ROWS)
def test_what_is_not_on_the_front_is_equalled_or_beaten(rows: np.ndarray) -> None:
    front = pareto_front(rows)
    for index in set(range(len(rows))) - set(front.tolist()):
        row = np.nan_to_num(rows[index], nan=np.inf, posinf=np.inf)
        assert any((np.nan_to_num(rows[one], nan=np.inf, posinf=np.inf) <= row).all() for one in front)


def test_front_is_sorted_by_its_first_measure_and_keeps_one_of_equals() -> None:
    rows = np.array([[3.0, 1.0], [1.0, 3.0], [1.0, 3.0], [2.0, 2.0], [3.0, 3.0]])
    assert pareto_front(rows).tolist() == [1, 3, 0]


def test_front_of_nothing_is_nothing() -> None:
    assert len(pareto_front(np.empty((0, 3)))) == 0
