from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradewind.errors import SpecError
from tradewind.planner.effort import NOTHING, Task, ThreePoint, estimate, naive_person_days, updated

FEW = 500
"""Futures; enough for what is true in each of them."""


def fixed(name: str, days: float, *needs: str, wait: float = 0.0) -> Task:
    return Task(name, ThreePoint(days, days, days), ThreePoint(wait, wait, wait), needs)


three_points = st.tuples(*[st.floats(0, 20)] * 3).map(lambda days: ThreePoint(*sorted(days)))


@st.composite
def graphs(draw: st.DrawFn) -> list[Task]:
    tasks: list[Task] = []
    for index in range(draw(st.integers(0, 7))):
        needs = draw(st.sets(st.sampled_from([task.name for task in tasks]))) if tasks else set()
        wait = draw(st.sampled_from([NOTHING, ThreePoint(1, 2, 5)]))
        tasks.append(Task(f"task {index}", draw(three_points), wait, tuple(sorted(needs))))
    return tasks


def test_mean_is_that_of_pert() -> None:
    days = ThreePoint(2, 4, 12)
    assert days.mean == 5
    found = estimate([Task("one", days)], team=1)
    assert found.mean_person_days == 5
    assert found.p50_person_days == pytest.approx(4.76, abs=0.1)
    assert found.p80_person_days > found.p50_person_days


def test_days_that_are_certain_add_up() -> None:
    found = estimate([fixed("one", 2), fixed("two", 3, "one", wait=4), fixed("three", 1, "two")], team=2, futures=FEW)
    assert found.p50_person_days == found.p80_person_days == 6
    assert found.p50_days == found.p80_days == 10


def test_people_work_side_by_side_on_what_does_not_wait() -> None:
    tasks = [fixed("one", 4), fixed("two", 3), fixed("three", 2, "one", "two")]
    assert [estimate(tasks, team=team, futures=FEW).p50_days for team in (1, 2, 3)] == [9, 6, 6]


def test_nothing_to_do_takes_no_time() -> None:
    assert estimate([], team=1).p80_days == estimate([], team=1).p80_person_days == 0


def test_same_tasks_give_the_same_figures() -> None:
    tasks = [Task("one", ThreePoint(1, 2, 9)), Task("two", ThreePoint(0, 5, 6), needs=("one",))]
    assert estimate(tasks, team=2) == estimate(tasks, team=2)


@settings(max_examples=60, deadline=None)
@given(tasks=graphs(), team=st.integers(1, 4))
def test_work_and_the_longest_chain_bound_the_end(tasks: list[Task], team: int) -> None:
    found = estimate(tasks, team=team, futures=FEW)
    alone = estimate(tasks, team=max(1, len(tasks)), futures=FEW)
    waits = sum(task.wait.high for task in tasks)
    assert found.p80_days >= found.p50_days >= 0
    assert found.p80_person_days >= found.p50_person_days
    assert found.p50_days >= found.p50_person_days / team - 1e-9
    assert found.p50_days >= alone.p50_days - 1e-9
    assert found.p50_days <= found.p50_person_days + waits + 1e-9


@settings(max_examples=60, deadline=None)
@given(tasks=graphs(), team=st.integers(1, 4), data=st.data())
def test_another_task_never_makes_it_less(tasks: list[Task], team: int, data: st.DataObject) -> None:
    kept = [task for task in tasks if data.draw(st.booleans())]
    fewer, more = (estimate(some, team=team, futures=FEW) for some in (kept, tasks))
    assert more.p50_person_days >= fewer.p50_person_days - 1e-9
    assert more.p80_person_days >= fewer.p80_person_days - 1e-9
    assert more.p50_days >= fewer.p50_days - 1e-9
    assert more.p80_days >= fewer.p80_days - 1e-9


@settings(max_examples=60, deadline=None)
@given(tasks=graphs(), team=st.integers(1, 4))
def test_another_person_never_makes_it_later(tasks: list[Task], team: int) -> None:
    fewer, more = (estimate(tasks, team=size, futures=FEW) for size in (team, team + 1))
    assert more.p80_days <= fewer.p80_days + 1e-9
    assert more.p80_person_days == fewer.p80_person_days


def test_what_is_done_counts_as_it_was_and_sets_the_pace_of_the_rest() -> None:
    tasks = [fixed("one", 10, wait=3), fixed("two", 10, "one")]
    after = updated(tasks, {"one": 20})
    assert after[0] == replace(tasks[0], work=ThreePoint(20, 20, 20), wait=NOTHING, basis="measured")
    assert after[1].work.mean == pytest.approx(10 * (10 + 20) / (10 + 10))
    assert "at the pace so far × 1.50" in after[1].basis


def test_without_actuals_nothing_changes_but_the_pace_is_said() -> None:
    tasks = [fixed("one", 10)]
    assert updated(tasks, {})[0].work == tasks[0].work


def test_unknown_actual_names_the_nearest_task() -> None:
    with pytest.raises(SpecError, match=r"no task named 'imags' \(did you mean 'images'\?\)"):
        updated([fixed("images", 1)], {"imags": 2})


def test_naive_formula_is_kept_to_compare_with() -> None:
    assert naive_person_days(hardware=(0.5, 0.3), software=(0.4, 0.6)) == pytest.approx(360)
    assert naive_person_days() == 100


@pytest.mark.parametrize("days", [(3, 2, 4), (-1, 2, 3), (1, 5, 4), (0, 1, float("inf"))])
def test_estimates_out_of_order_are_refused(days: tuple[float, float, float]) -> None:
    with pytest.raises(SpecError, match="are no estimate"):
        ThreePoint(*days)


def test_tasks_that_cannot_be_worked_are_refused() -> None:
    with pytest.raises(SpecError, match="'one' needs 'two', which comes after it"):
        estimate([fixed("one", 1, "two"), fixed("two", 1)], team=1)
    with pytest.raises(SpecError, match="two tasks are named 'one'"):
        estimate([fixed("one", 1), fixed("one", 1)], team=1)
    with pytest.raises(SpecError, match="a team of 0"):
        estimate([], team=0)
