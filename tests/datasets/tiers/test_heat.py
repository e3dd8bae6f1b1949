from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.datasets.tiers.heat import HALF_LIFE_DAYS, Use, accesses, heat
from tradewind.records import AliasMove, Record, Usage

NOW = datetime(2026, 6, 1, tzinfo=UTC)
VERSION = "dataset:logbook@2"


def days_ago(*days: float) -> list[datetime]:
    return sorted(NOW - timedelta(days=one) for one in days)


def test_accesses_at_an_even_rate_give_that_rate() -> None:
    assert heat(days_ago(*(every / 4 for every in range(4000))), NOW) == pytest.approx(4, rel=0.02)


def test_access_counts_half_after_the_half_life() -> None:
    assert heat(days_ago(HALF_LIFE_DAYS), NOW) == pytest.approx(heat(days_ago(0), NOW) / 2)


def test_without_accesses_it_is_cold() -> None:
    assert heat([], NOW) == 0


def test_clock_that_is_ahead_does_not_make_it_hotter_than_now() -> None:
    assert heat([NOW + timedelta(days=400)], NOW) == heat([NOW], NOW)


@given(days=st.lists(st.floats(0, 10_000), max_size=30), later=st.floats(0, 1000))
def test_it_falls_with_time_and_rises_with_accesses(days: list[float], later: float) -> None:
    times = days_ago(*days)
    assert heat(times, NOW + timedelta(days=later)) <= heat(times, NOW)
    assert heat([*times, NOW], NOW) > heat(times, NOW)


def test_records_that_name_the_version_are_its_accesses() -> None:
    def usage(subject: str, *parents: str, ago: float) -> Usage:
        return Usage(
            usage_id=f"{ago}", activity="training", subject=subject, parents=parents, machine="quay", seconds=1,
            cpu_seconds=1, energy_wh=0, usd=0, created_at=NOW - timedelta(days=ago),
        )  # fmt: skip

    records: list[Record] = [
        usage("run:a", VERSION, ago=1),
        usage(VERSION, ago=3),
        usage("run:b", "dataset:logbook@20", ago=4),
        AliasMove(name="m", alias="a", version=1, move=1, writer="w", parents=(VERSION,), created_at=NOW),
    ]
    assert accesses(VERSION, records) == days_ago(0, 1, 3)


@pytest.mark.parametrize(
    ("dataset", "parents", "reads"),
    [
        ("logbook@2", (), True),
        ("logbook@3", (), False),
        ("logbook@3", (VERSION,), True),
        ("logbook", (), True),
        ("logbook@prod", (), True),
        ("other@2", (), False),
        ("other", (), False),
        ("no reference at all", (), True),
    ],
)
def test_use_that_is_not_sure_counts(dataset: str, parents: tuple[str, ...], reads: bool) -> None:
    assert Use("r", dataset, parents, "quay", NOW, None, True).reads("logbook", 2) is reads
