from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from tradewind.engines.predict.plan import Plan

SECONDS = st.lists(st.integers(1, 6), min_size=1, max_size=4).map(lambda each: [0.0, *map(float, sorted(each))])


def cuts(count: int, largest: int) -> Iterator[tuple[int, ...]]:
    """Every way to cut so many into batches."""
    if not count:
        yield ()
    for size in range(1, min(count, largest) + 1):
        yield from ((size, *rest) for rest in cuts(count - size, largest))


def is_in_time(order: Sequence[float], sizes: Sequence[int], seconds: Sequence[float]) -> bool:
    end, at = 0.0, 0
    for size in sizes:
        end += seconds[size]
        if any(due < end for due in order[at : at + size]):
            return False
        at += size
    return True


def has_a_schedule(due: Sequence[float], seconds: Sequence[float]) -> bool:
    """Every order in every batches."""
    every = list(cuts(len(due), len(seconds) - 1))
    return any(is_in_time(order, sizes, seconds) for order in set(permutations(due)) for sizes in every)


@given(st.lists(st.integers(1, 20).map(float), max_size=5), SECONDS)
def test_input_is_taken_in_exactly_when_some_schedule_has_all_in_time(due: list[float], seconds: list[float]) -> None:
    plan, taken = Plan(0.0, seconds), list[float]()
    for one in due:
        can = has_a_schedule([*taken, one], seconds)
        assert plan.add(one) == can
        taken += [one] * can


@given(st.lists(st.integers(1, 40).map(float), max_size=12), SECONDS)
def test_batches_of_a_plan_are_in_time(due: list[float], seconds: list[float]) -> None:
    plan = Plan(0.0, seconds)
    left = sorted(one for one in due if plan.add(one))
    end = 0.0
    while left:
        size = plan.first_batch()
        end += seconds[size]
        assert end <= left[0]
        left = left[size:]
        plan = Plan(end, seconds)
        for one in left:
            assert plan.add(one)
    assert plan.first_batch() == 0


def test_several_inputs_with_one_deadline_go_in_together_or_not_at_all() -> None:
    plan = Plan(0.0, [0.0, 2.0, 3.0])
    assert not plan.add(5.0, 4)
    assert plan.first_batch() == 0
    assert plan.add(6.0, 4)
    assert plan.first_batch() == 2
    assert not plan.add(9.0, 3)
    assert plan.add(9.0, 2)


def test_nearer_deadline_goes_before_what_came_earlier() -> None:
    plan = Plan(10.0, [0.0, 1.0])
    assert plan.add(13.0)
    assert plan.add(11.0)
    assert not plan.add(11.5)
    assert plan.add(12.5)
