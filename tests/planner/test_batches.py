from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.errors import SpecError
from tradewind.planner.batches import Batch, check_batch, divisors, nearest_batches


def test_batch_that_does_not_divide_is_answered_with_the_nearest() -> None:
    with pytest.raises(SpecError, match="a batch of 32 sequences does not divide over 100 groups with 4 passes") as one:
        check_batch(32, 100, 4)
    assert one.value.hint is not None
    assert "batch 400 = 100 groups × 4 passes × 1" in one.value.hint
    assert "batch 32 = 8 groups × 4 passes × 1" in one.value.hint


def test_batch_that_divides_is_given() -> None:
    assert check_batch(512, 16, 4) == Batch(512, 16, 4)
    assert check_batch(512, 16, 4).micro_batch == 8


@given(st.integers(1, 10_000), st.integers(1, 500), st.integers(1, 64))
def test_nearest_batches_divide(sequences: int, groups: int, passes: int) -> None:
    near = nearest_batches(sequences, groups, passes)
    assert near
    for batch in near:
        assert batch.micro_batch >= 1
        assert batch.micro_batch * batch.groups * batch.passes == batch.sequences
        assert batch.groups <= groups


@given(st.integers(1, 20_000))
def test_divisors_are_all_there(number: int) -> None:
    assert list(divisors(number)) == [candidate for candidate in range(1, number + 1) if number % candidate == 0]
