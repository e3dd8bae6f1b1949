from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tradewind.errors import SpecError
from tradewind.planner.follow import Route, follow
from tradewind.planner.starts import HOUR, Signal

Floats = NDArray[np.float64]

MIDNIGHT = datetime(2026, 11, 21, tzinfo=UTC)
REGIONS = {"asia": 9, "europe": 1, "america": -8}
"""And how many hours their clocks are ahead of UTC."""

CAPACITY, BATCH = 100.0, 70.0
"""Machines of a region, and those that work which may be moved can fill."""

MOVE = 2.0


def idle(region: str) -> Floats:
    """Machines that do not serve people: few at two in the afternoon, most of them at night."""
    local = (np.arange(24.0) + REGIONS[region]) % 24
    return CAPACITY - (60 + 30 * np.cos((local - 14) * 2 * math.pi / 24))


def signals() -> dict[str, Signal]:
    """Machines that the work finds taken."""
    return {name: Signal(tuple(np.maximum(0, BATCH - idle(name)).tolist()), MIDNIGHT) for name in REGIONS}


def transfers(cost: float) -> dict[tuple[str, str], float]:
    return {(a, b): cost for a, b in product(REGIONS, REGIONS) if a != b}


def a_day(
    *, home: str = "europe", hours: int = 24, span_h: int = 24, move: float = MOVE, allowed: list[str] | None = None
) -> Route:
    deadline = MIDNIGHT + span_h * HOUR
    return follow(
        signals(), transfers(move), home=home, hours=hours, earliest=MIDNIGHT, deadline=deadline, allowed=allowed
    )


def idle_share(places: tuple[str | None, ...]) -> float:
    """Of all machines of all regions, in a day in which the work was there."""
    left = sum(float(idle(region).sum()) for region in REGIONS)
    left -= sum(min(BATCH, float(idle(place)[hour])) for hour, place in enumerate(places) if place)
    return left / (CAPACITY * 24 * len(REGIONS))


def test_idle_share_of_three_regions_falls_by_a_third_in_a_day() -> None:
    before, after = idle_share(("europe",) * 24), idle_share(a_day().regions)
    assert after <= 0.7 * before


def test_work_goes_round_the_earth_with_the_night() -> None:
    assert {place for place in a_day().regions if place} == set(REGIONS)


def test_moves_are_counted() -> None:
    route = a_day()
    assert route.moved == MOVE * len(route.moves) > 0
    assert route.total == pytest.approx(route.worked + route.moved)


def test_work_stays_where_moves_cost_more_than_they_save() -> None:
    route = a_day(move=1e6)
    assert (set(route.regions), route.moves) == ({"europe"}, ())


def test_data_never_leave_the_regions_that_they_may_be_in() -> None:
    assert set(a_day(allowed=["europe", "america"]).regions) <= {"europe", "america"}


def test_work_leaves_a_home_where_it_must_not_be() -> None:
    route = a_day(home="asia", allowed=["europe"])
    assert set(route.regions) == {"europe"}
    assert route.moves == ((0, "asia", "europe"),)


def test_work_waits_for_the_night_where_there_is_time() -> None:
    route = a_day(hours=6, allowed=["america"], home="america")
    assert sum(place is not None for place in route.regions) == 6
    assert route.worked < a_day(hours=6, span_h=6, allowed=["america"], home="america").worked


@pytest.mark.parametrize(("hours", "span_h", "allowed"), [(25, 24, None), (0, 24, None), (1, -1, None), (1, 24, [])])
def test_what_does_not_fit_is_refused(hours: int, span_h: int, allowed: list[str] | None) -> None:
    with pytest.raises(SpecError, match="do not fit"):
        a_day(hours=hours, span_h=span_h, allowed=allowed)


def test_unknown_region_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(SpecError, match=r"no hourly values of region 'europa' \(did you mean 'europe'\?\)"):
        a_day(allowed=["europa"])


COSTS = st.lists(st.lists(st.floats(0, 100), min_size=24, max_size=24), min_size=2, max_size=2)


@settings(max_examples=50)
@given(costs=COSTS, move=st.floats(0, 50), hours=st.integers(1, 5))
def test_no_other_way_is_cheaper(costs: list[list[float]], move: float, hours: int) -> None:
    """All ways through 5 hours and 2 regions are tried."""
    series = {name: Signal(tuple(values), MIDNIGHT) for name, values in zip("ab", costs, strict=True)}
    route = follow(
        series,
        {("a", "b"): move, ("b", "a"): move},
        home="a",
        hours=hours,
        earliest=MIDNIGHT,
        deadline=MIDNIGHT + 5 * HOUR,
    )
    ways = [way for way in product("ab-", repeat=5) if sum(place != "-" for place in way) == hours]
    assert route.total == pytest.approx(min(cost_of(way, costs, move) for way in ways), abs=1e-6)
    assert route.total == pytest.approx(cost_of([place or "-" for place in route.regions], costs, move), abs=1e-6)


def cost_of(way: Sequence[str], costs: list[list[float]], move: float) -> float:
    here, total = "a", 0.0
    for hour, place in enumerate(way):
        if place != "-":
            total += costs["ab".index(place)][hour] + (move if place != here else 0.0)
            here = place
    return total
