from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.serving.trials.laws import Law, linear, point
from tradewind.serving.trials.goals import Goals, Point, choose
from tradewind.serving.trials.search import search
from tradewind.serving.trials.setting import Setting

CLIENTS = 16


def tried(
    law: Law,
    *,
    goals: Goals | None = None,
    knobs: Mapping[str, Sequence[Any]] | None = None,
    trials: int = 40,
    start: Setting | None = None,
) -> list[Point]:
    def measure(setting: Setting) -> Point:
        factor = dict(setting.knobs).get("factor", 1.0)
        return point(setting, lambda number: law(number) * factor, clients=CLIENTS)

    start = start or Setting(8)
    return search(start, knobs or {}, goals or Goals(), clients=CLIENTS, trials=trials, measure=measure)


def test_spec_as_it_is_comes_first_and_then_the_slots() -> None:
    found = tried(linear(0.02, 0.001), trials=5, start=Setting(6))
    assert [one.setting.max_concurrency for one in found] == [6, 1, 2, 4, 8]


@given(most=st.integers(1, CLIENTS))
def test_most_slots_that_keep_the_goal_are_found_within_an_eighth(most: int) -> None:
    law = linear(0.02, 0.002)
    goals = Goals(itl_s=law(most) + 0.001)
    found = choose(tried(law, goals=goals), goals, clients=CLIENTS).setting.max_concurrency
    assert most - max(1, most / 8) <= found <= most


def test_nothing_is_measured_twice_and_never_more_than_asked_for() -> None:
    for trials in range(1, 12):
        found = [one.setting for one in tried(linear(0.02, 0.002), knobs={"factor": (0.5, 1.0)}, trials=trials)]
        assert len(found) == len(set(found)) <= trials


def test_more_slots_than_clients_are_as_many_as_clients() -> None:
    found = tried(linear(0.1, 0.001), start=Setting(64))
    assert [one.setting.max_concurrency for one in found].count(16) == 0


def test_better_value_of_a_knob_is_kept_while_the_next_is_tried() -> None:
    knobs = {"factor": (2.0, 0.5), "colour": ("red", "blue")}
    found = tried(linear(0.02, 0.001), knobs=knobs)
    coloured = [dict(one.setting.knobs) for one in found if "colour" in dict(one.setting.knobs)]
    assert coloured[:2] == [{"factor": 0.5, "colour": "red"}, {"factor": 0.5, "colour": "blue"}]


def test_setting_that_fails_is_passed_over() -> None:
    def measure(setting: Setting) -> Point:
        if setting.max_concurrency > 4:
            return Point(setting, failure="no room")
        return point(setting, linear(0.02, 0.001), clients=CLIENTS)

    found = search(Setting(2), {}, Goals(itl_s=1.0), clients=CLIENTS, trials=20, measure=measure)
    assert choose(found, Goals(itl_s=1.0), clients=CLIENTS).setting == Setting(4)
    assert {one.setting.max_concurrency for one in found if one.failure} >= {8, 16}


def test_first_that_fails_ends_the_search() -> None:
    def measure(setting: Setting) -> Point:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        search(Setting(2), {}, Goals(), clients=4, trials=9, measure=measure)
