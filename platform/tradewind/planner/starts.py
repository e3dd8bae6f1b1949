"""When to start: the hours in which the grid is cleanest, or the price lowest, between now and the deadline.

A figure that is known by the year alone is the same at every hour, and then the answer is: now.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tradewind.errors import SpecError

Floats = NDArray[np.float64]

DAY_H = 24
HOUR = timedelta(hours=1)
COLUMNS = ("region", "hour", "value")


@dataclass(frozen=True)
class Signal:
    """A figure for each hour: grams per kWh, dollars an hour, or the share of machines that are busy. Less is better.

    `values` begin at `start` and repeat for ever: a day, a week or a forecast. Raises SpecError for less than a day.
    """

    values: tuple[float, ...]
    start: datetime
    """In any zone, but in one."""

    def __post_init__(self) -> None:
        if len(self.values) < DAY_H:
            raise SpecError(f"{len(self.values)} hourly values are less than a day", hint=f"give at least {DAY_H}")
        if not all(map(math.isfinite, self.values)):
            raise SpecError("an hourly value is not a finite number", hint="leave no hour out")
        if self.start.tzinfo is None:
            raise SpecError("the start of hourly values has no time zone", hint="give it in UTC")

    @property
    def is_flat(self) -> bool:
        return min(self.values) == max(self.values)

    def mean(self, begin_h: Floats, duration_h: float) -> Floats:
        """Over runs that begin so many hours after `start`, and last for more than nothing."""
        return (self._sum_to(begin_h + duration_h) - self._sum_to(begin_h)) / duration_h

    def hours_to(self, at: datetime) -> float:
        """From `start`."""
        return (at - self.start) / HOUR

    def _sum_to(self, hours: Floats) -> Floats:
        """Of the values from `start` on; parts of an hour count in part."""
        periods, rest = np.divmod(hours, len(self.values))
        sums: Floats = periods * self._sums[-1] + np.interp(rest, np.arange(len(self._sums)), self._sums)
        return sums

    @cached_property
    def _sums(self) -> Floats:
        return np.concatenate([[0.0], np.cumsum(self.values)])


@dataclass(frozen=True)
class Start:
    at: datetime
    mean: float
    """Of the signal over the run."""
    mean_now: float
    """The same for a run that starts at once."""
    reason: str

    @property
    def saved_share(self) -> float:
        """Of what starting at once takes."""
        return 1 - self.mean / self.mean_now if self.mean_now > 0 else 0.0


def best_start(signal: Signal | None, *, duration_h: float, earliest: datetime, deadline: datetime) -> Start:
    """The start with the least mean over the run; of equal ones the first. None stands for a figure without hours.

    Exact: the mean changes along straight lines, whose ends are where the run begins or ends with an hour. Raises
    SpecError when the run cannot end by the deadline.
    """
    slack_h = (deadline - earliest) / HOUR - duration_h
    if slack_h < 0 or duration_h <= 0:
        raise SpecError(
            f"a run of {duration_h:.4g} h from {earliest:%Y-%m-%dT%H:%M} on does not end by {deadline:%Y-%m-%dT%H:%M}",
            hint="set a later deadline, or use more machines",
        )
    if signal is None:
        return Start(earliest, math.nan, math.nan, "no hourly figures for this grid")
    if signal.is_flat:
        return Start(earliest, signal.values[0], signal.values[0], "the same at every hour")
    begin_h = _candidates_h(signal.hours_to(earliest), slack_h=min(slack_h, len(signal.values)), duration_h=duration_h)
    means = signal.mean(begin_h, duration_h)
    first = int(np.flatnonzero(means <= means.min() + 1e-9 * abs(means[0]))[0])
    reason = "the least mean of all starts that keep the deadline" if first else "no later start has a lower mean"
    at = earliest if first == 0 else signal.start + timedelta(hours=float(begin_h[first]))
    return Start(at, float(means[first]), float(means[0]), reason)


def read_signals(path: str | Path) -> dict[str, Signal]:
    """Hourly values of regions, from a CSV file with the columns `region`, `hour` and `value`.

    `hour` is like `2026-11-21T14:00`, in UTC where it has no zone. Hours of a region follow each other, 24 at least.
    Raises SpecError with the row and the column that cannot be read.
    """
    values: dict[str, list[float]] = {}
    starts: dict[str, datetime] = {}
    for where, region, hour, value in _rows(Path(path)):
        due = starts.setdefault(region, hour) + len(values.setdefault(region, [])) * HOUR
        if hour != due:
            raise SpecError(f"{where}, column 'hour': {hour:%Y-%m-%dT%H:%M} follows no hour of {region}",
                            hint=f"the next hour of {region} is {due:%Y-%m-%dT%H:%M}")  # fmt: skip
        values[region].append(value)
    return {region: _signal(region, tuple(series), starts[region], Path(path)) for region, series in values.items()}


def _candidates_h(now_h: float, *, slack_h: float, duration_h: float) -> Floats:
    """Starts between now and the last one, in order: now, the last, and where a run meets the border of an hour."""
    last_h = now_h + slack_h
    hours = np.arange(math.ceil(now_h), math.floor(last_h + duration_h) + 1, dtype=float)
    starts = np.concatenate([hours, hours - duration_h])
    between = np.unique(starts[(starts > now_h) & (starts < last_h)])
    return np.concatenate([[now_h], between, [last_h]])


def _rows(path: Path) -> Iterator[tuple[str, str, datetime, float]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as exc:
        raise SpecError(f"{path} cannot be read: {exc}", hint="give a CSV file in UTF-8") from exc
    table = csv.DictReader(text.splitlines())
    if missing := [name for name in COLUMNS if name not in (table.fieldnames or ())]:
        raise SpecError(f"{path} has no column {missing[0]!r}", hint=f"the columns are {', '.join(COLUMNS)}")
    for row in table:
        where = f"{path}, row {table.line_num}"
        yield where, row["region"], _hour(where, row["hour"]), _value(where, row["value"])


def _hour(where: str, text: str | None) -> datetime:
    try:
        hour = datetime.fromisoformat(text or "")
    except ValueError:
        raise SpecError(f"{where}, column 'hour': {text!r} is no time", hint="write it like 2026-11-21T14:00") from None
    return hour.replace(tzinfo=UTC) if hour.tzinfo is None else hour.astimezone(UTC)


def _value(where: str, text: str | None) -> float:
    try:
        value = float(text or "")
    except ValueError:
        raise SpecError(f"{where}, column 'value': {text!r} is no number", hint="write it like 213.5") from None
    if not (math.isfinite(value) and value >= 0):
        raise SpecError(f"{where}, column 'value': {text} is not a number ≥ 0", hint="write it like 213.5")
    return value


def _signal(region: str, values: tuple[float, ...], start: datetime, path: Path) -> Signal:
    try:
        return Signal(values, start)
    except SpecError as exc:
        raise SpecError(f"{path}, region {region}: {exc.message}", hint=exc.hint) from None
