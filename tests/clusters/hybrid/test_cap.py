from __future__ import annotations

from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.clusters.hybrid.cap import Cap


def test_machines_that_are_asked_for_count_like_those_that_run() -> None:
    cap = Cap(1.0, lambda: 0.4)
    with cap.reserve(0.2, 2) as first, cap.reserve(0.2, 2) as second:
        assert (first, second) == (2, 1)
    with cap.reserve(0.2, 5) as again:
        assert again == 3


def test_own_machines_cost_nothing_and_always_fit() -> None:
    with Cap(1.0, lambda: 9.0).reserve(0.0, 7) as fit:
        assert fit == 7


@given(
    running=st.floats(0, 20),
    asked=st.lists(st.tuples(st.floats(0.001, 9.0), st.integers(1, 9)), max_size=8),
)
def test_all_together_never_pass_the_cap(running: float, asked: list[tuple[float, int]]) -> None:
    cap = Cap(10.0, lambda: running)
    with ExitStack() as open_requests:
        reserved = [usd * open_requests.enter_context(cap.reserve(usd, count)) for usd, count in asked]
    assert sum(reserved) == 0 or running + sum(reserved) <= 10.0 + 1e-5


def test_price_is_free_again_when_a_launch_fails() -> None:
    cap = Cap(1.0, lambda: 0.0)
    with pytest.raises(RuntimeError), cap.reserve(1.0, 1):
        raise RuntimeError
    with cap.reserve(1.0, 1) as fit:
        assert fit == 1
