from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.serving.trials.laws import Law, figures, linear, point, roofline
from tradewind.errors import RunError, SpecError
from tradewind.records import ServingFigures
from tradewind.serving.trials.goals import CLOSE, Goals, Point, choose, front, knee
from tradewind.serving.trials.setting import Setting
from tradewind.specs import ServeSpec

LADDER = [2**step for step in range(9)]
times = st.sampled_from([0.01, 0.02, 0.05, 0.1, 0.5])
rates = st.sampled_from([10.0, 50.0, 98.0, 100.0, 200.0])
points = st.lists(
    st.builds(
        lambda slots, itl_s, rate, ttft_s: Point(Setting(slots), figures(itl_s, rate, ttft_s)),
        st.integers(1, 64), times, rates, times,
    ),
    min_size=1, max_size=12,
)  # fmt: skip
goals = st.builds(Goals, st.none() | times, st.none() | times)


def beats(one: Point, other: Point) -> bool:
    """At least as good in everything, and better in something."""
    first, second = costs(one), costs(other)
    return first != second and all(a <= b for a, b in zip(first, second, strict=True))


def costs(one: Point) -> tuple[float, float, float]:
    seen = seen_of(one)
    return -seen.tokens_per_s, seen.ttft_p95_s, seen.itl_p95_s


def seen_of(one: Point) -> ServingFigures:
    assert one.figures
    return one.figures


def ladder(law: Law, noise: list[float] | None = None) -> list[Point]:
    noises = noise or [1.0] * len(LADDER)
    return [point(Setting(n), law, clients=256, noise=x) for n, x in zip(LADDER, noises, strict=True)]


@given(points)
def test_front_has_no_point_that_another_beats_and_leaves_out_only_such(tried: list[Point]) -> None:
    found = front(tried)
    assert not any(beats(one, other) for one in tried for other in found)
    for one in tried:
        assert one in found or any(beats(other, one) or costs(other) == costs(one) for other in found)


@given(points, goals)
def test_chosen_is_on_the_front_and_keeps_the_goals_when_any_does(tried: list[Point], wanted: Goals) -> None:
    found = choose(tried, wanted, clients=64)
    kept = [seen_of(one).tokens_per_s for one in tried if wanted.excess(seen_of(one)) <= 1]
    assert found in front(tried)
    assert (wanted.excess(seen_of(found)) <= 1) is bool(kept)
    if kept and wanted:
        assert seen_of(found).tokens_per_s >= (1 - CLOSE) * max(kept)


def test_of_points_that_are_close_the_one_with_the_most_room_is_chosen() -> None:
    tried = [Point(Setting(8), figures(0.045, 100.0, 0.1)), Point(Setting(6), figures(0.03, 98.0, 0.1))]
    assert choose(tried, Goals(itl_s=0.05), clients=16) == tried[1]


def test_where_no_point_keeps_the_goals_the_nearest_is_chosen_and_says_by_how_much() -> None:
    tried = [Point(Setting(n), figures(0.01 * n, 50.0 * n, 4.0 / n)) for n in (1, 2, 4)]
    wanted = Goals(ttft_s=1.5, itl_s=0.01)
    found = choose(tried, wanted, clients=16)
    assert found == tried[1]
    assert wanted.misses(seen_of(found)) == [
        "TTFT p95 is 2.00 s, 33% over 1.50 s",
        "ITL p95 is 20.0 ms, 100% over 10.0 ms",
    ]


def test_trials_that_all_failed_are_told_with_the_first_reason() -> None:
    with pytest.raises(RunError, match="no setting could be measured: no room"):
        choose([Point(Setting(1), failure="no room")], Goals(), clients=1)
    assert knee([Point(Setting(1), failure="no room")], clients=1) is None


@given(
    law=st.sampled_from([linear, roofline]),
    at=st.floats(1, 256),
    noise=st.lists(st.floats(0.97, 1.03), min_size=len(LADDER), max_size=len(LADDER)),
)
def test_knee_of_a_law_is_found_within_a_step(
    law: Callable[[float, float], Law], at: float, noise: list[float]
) -> None:
    """Both laws have it at once_s / each_s: where the parts are equal, and where the corner is."""
    found = knee(ladder(law(at * 0.002, 0.002), noise), clients=256)
    assert found
    assert abs(math.log2(found.setting.max_concurrency) - math.log2(at)) <= 1


def test_knees_of_two_engines_differ() -> None:
    found = [knee(ladder(law), clients=256) for law in (linear(0.01, 0.001), roofline(0.1, 0.001))]
    assert [one and one.setting.max_concurrency for one in found] == [8, 128]


def test_slots_beyond_the_clients_do_not_move_the_knee() -> None:
    law = linear(0.02, 0.001)
    tried = [point(Setting(n), law, clients=16) for n in (4, 8, 16, 64)]
    found = knee(tried, clients=16)
    assert found
    assert found.setting.in_effect(16) == 16


@pytest.mark.parametrize("wrong", [0.0, -1.0, math.nan])
def test_goal_that_nothing_can_keep_is_refused(wrong: float) -> None:
    with pytest.raises(SpecError, match="itl_s is"):
        Goals(itl_s=wrong)


def test_goals_are_those_of_the_traffic_and_else_of_the_scaling() -> None:
    spec = ServeSpec.of(name="chat", model="pilot", traffic={"itl_s": "50ms"}, scaling={"ttft_s": "2s"})
    assert Goals.of(spec) == Goals(ttft_s=2.0, itl_s=0.05)
    assert Goals.of(spec.with_values(traffic__ttft_s=1.0)) == Goals(ttft_s=1.0, itl_s=0.05)
    assert not Goals.of(ServeSpec.of(name="chat", model="pilot"))
