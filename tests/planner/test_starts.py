from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.errors import SpecError
from tradewind.planner.starts import HOUR, Signal, best_start, read_signals

MIDNIGHT = datetime(2026, 11, 21, tzinfo=UTC)
SUNNY = (400.0,) * 10 + (100.0,) * 6 + (400.0,) * 8
"""A grid that is clean from ten to sixteen o'clock."""

VALUES = st.lists(st.floats(0, 1000), min_size=24, max_size=60)


def signal(values: tuple[float, ...] = SUNNY) -> Signal:
    return Signal(values, MIDNIGHT)


def test_run_starts_when_the_grid_is_clean() -> None:
    start = best_start(signal(), duration_h=6, earliest=MIDNIGHT, deadline=MIDNIGHT + 24 * HOUR)
    assert (start.at, start.mean, start.mean_now) == (MIDNIGHT + 10 * HOUR, 100.0, 400.0)
    assert start.saved_share == 0.75


def test_run_that_does_not_fit_into_the_clean_hours_covers_them() -> None:
    start = best_start(signal(), duration_h=8, earliest=MIDNIGHT, deadline=MIDNIGHT + 24 * HOUR)
    assert start.at == MIDNIGHT + 8 * HOUR
    assert start.mean == pytest.approx((6 * 100 + 2 * 400) / 8)


def test_run_ends_with_a_clean_hour_where_the_deadline_lets_it() -> None:
    start = best_start(signal(), duration_h=1.5, earliest=MIDNIGHT, deadline=MIDNIGHT + 11 * HOUR)
    assert start.at == MIDNIGHT + 9.5 * HOUR
    assert start.mean == pytest.approx((100 * 1.0 + 400 * 0.5) / 1.5)


@pytest.mark.parametrize(
    ("flat", "reason"),
    [(None, "no hourly figures for this grid"), (signal((379.1,) * 24), "the same at every hour")],
)
def test_flat_figure_starts_at_once_and_says_why(flat: Signal | None, reason: str) -> None:
    start = best_start(flat, duration_h=5, earliest=MIDNIGHT, deadline=MIDNIGHT + 90 * HOUR)
    assert (start.at, start.saved_share, start.reason) == (MIDNIGHT, 0.0, reason)


def test_of_equal_starts_the_first_is_taken() -> None:
    start = best_start(signal(), duration_h=2, earliest=MIDNIGHT, deadline=MIDNIGHT + 100 * HOUR)
    assert start.at == MIDNIGHT + 10 * HOUR


def test_series_repeats_itself() -> None:
    tomorrow = MIDNIGHT + 20 * HOUR
    start = best_start(signal(), duration_h=6, earliest=tomorrow, deadline=tomorrow + 24 * HOUR)
    assert start.at == MIDNIGHT + 34 * HOUR


def test_series_counts_before_its_own_start_too() -> None:
    before = MIDNIGHT - 14 * HOUR
    assert best_start(signal(), duration_h=6, earliest=before, deadline=before + 6 * HOUR).mean == 100.0


def test_zones_do_not_matter() -> None:
    tokyo = timezone(timedelta(hours=9))
    start = best_start(signal(), duration_h=6, earliest=MIDNIGHT.astimezone(tokyo), deadline=MIDNIGHT + 24 * HOUR)
    assert start.at == MIDNIGHT + 10 * HOUR


def test_run_that_cannot_keep_the_deadline_is_refused() -> None:
    with pytest.raises(SpecError, match=r"a run of 9 h from 2026-11-21T00:00 on does not end by 2026-11-21T08:00"):
        best_start(signal(), duration_h=9, earliest=MIDNIGHT, deadline=MIDNIGHT + 8 * HOUR)


@given(values=VALUES, duration_h=st.floats(0.1, 40), begin_h=st.floats(-100, 100), slack_h=st.floats(0, 200))
def test_deadline_is_kept_and_nothing_is_worse_than_now(
    values: list[float], duration_h: float, begin_h: float, slack_h: float
) -> None:
    earliest = MIDNIGHT + begin_h * HOUR
    deadline = earliest + (duration_h + slack_h) * HOUR + timedelta(microseconds=1)
    start = best_start(signal(tuple(values)), duration_h=duration_h, earliest=earliest, deadline=deadline)
    assert start.mean <= start.mean_now
    assert earliest <= start.at
    assert start.at + duration_h * HOUR <= deadline + timedelta(microseconds=2)  # what a datetime rounds away


@given(values=VALUES, duration_h=st.floats(0.1, 40), slack_h=st.floats(0, 60), share=st.floats(0, 1))
def test_no_other_start_is_better(values: list[float], duration_h: float, slack_h: float, share: float) -> None:
    series = signal(tuple(values))
    deadline = MIDNIGHT + (duration_h + slack_h) * HOUR + timedelta(microseconds=1)
    best = best_start(series, duration_h=duration_h, earliest=MIDNIGHT, deadline=deadline)
    other = float(series.mean(np.array([share * slack_h]), duration_h)[0])
    assert best.mean <= other + 1e-6


def test_mean_is_that_of_the_hours() -> None:
    assert signal().mean(np.array([0.0, 9.5, 10.0, 23.0]), 2.0).tolist() == pytest.approx([400, 175, 100, 400])


@pytest.mark.parametrize(
    ("values", "start", "message"),
    [
        ((1.0,) * 23, MIDNIGHT, "23 hourly values are less than a day"),
        ((float("nan"),) * 24, MIDNIGHT, "not a finite number"),
        ((1.0,) * 24, datetime(2026, 11, 21), "no time zone"),
    ],
)
def test_wrong_series_is_refused(values: tuple[float, ...], start: datetime, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        Signal(values, start)


def written(path: Path, lines: list[str], *, header: str = "region,hour,value") -> Path:
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def day(region: str) -> list[str]:
    return [f"{region},{MIDNIGHT + hour * HOUR:%Y-%m-%dT%H:%M},{value}" for hour, value in enumerate(SUNNY)]


def test_series_are_read_from_a_file(tmp_path: Path) -> None:
    path = written(tmp_path / "grid.csv", [*day("aws/eu-west-1"), *day("gcp/us-east1")])
    assert read_signals(path) == {"aws/eu-west-1": signal(), "gcp/us-east1": signal()}


def test_hours_in_another_zone_are_the_same_hours(tmp_path: Path) -> None:
    lines = [
        f"here,{(MIDNIGHT + n * HOUR).astimezone(timezone(timedelta(hours=9))).isoformat()},{n}" for n in range(24)
    ]
    assert read_signals(written(tmp_path / "grid.csv", lines))["here"].start == MIDNIGHT


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("here,2026-11-21T05:00,much", r"row 7, column 'value': 'much' is no number"),
        ("here,2026-11-21T05:00,-1", r"row 7, column 'value': -1 is not a number ≥ 0"),
        ("here,2026-11-21T05:00,nan", r"row 7, column 'value': nan is not a number ≥ 0"),
        ("here,2026-11-21T05:00", r"row 7, column 'value': None is no number"),
        ("here,five,1", r"row 7, column 'hour': 'five' is no time"),
        ("here,2026-11-21T06:00,1", r"row 7, column 'hour': 2026-11-21T06:00 follows no hour of here"),
    ],
)
def test_damaged_row_is_named(tmp_path: Path, line: str, message: str) -> None:
    lines = day("here")
    lines[5] = line
    with pytest.raises(SpecError, match=message):
        read_signals(written(tmp_path / "grid.csv", lines))


def test_missing_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"has no column 'hour'"):
        read_signals(written(tmp_path / "grid.csv", [], header="region,when,value"))


def test_region_with_less_than_a_day_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"region here: 5 hourly values are less than a day"):
        read_signals(written(tmp_path / "grid.csv", day("here")[:5]))


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"cannot be read"):
        read_signals(tmp_path / "none.csv")
