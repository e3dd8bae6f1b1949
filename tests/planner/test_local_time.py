from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import available_timezones

import pytest

from tests.planner.test_energy import HERE
from tradewind.planner.local_time import ZONES, Offset, utc_offset

WINTER, SUMMER = datetime(2026, 1, 15, tzinfo=UTC), datetime(2026, 7, 15, tzinfo=UTC)


def test_countries_with_one_zone_have_its_clock() -> None:
    frankfurt = replace(HERE, country="DE", longitude=8.7)
    assert utc_offset(frankfurt, WINTER) == Offset(1.0, "Europe/Berlin")
    assert utc_offset(frankfurt, SUMMER) == Offset(2.0, "Europe/Berlin")
    assert utc_offset(replace(HERE, country="IN"), WINTER) == Offset(5.5, "Asia/Kolkata")


def test_other_countries_have_the_sun() -> None:
    assert utc_offset(replace(HERE, longitude=-77.4), WINTER) == Offset(-5.16, "longitude")


def test_place_that_nobody_knows_has_no_time() -> None:
    assert utc_offset(replace(HERE, country="", longitude=None), WINTER) is None


@pytest.mark.parametrize("zone", sorted(ZONES.values()))
def test_zones_exist(zone: str) -> None:
    assert zone in available_timezones()
