"""The tasks of a migration, one line each in `tasks.csv`. Their days are assumptions, which your own actuals correct.

`when` names topics: a task applies where one of them differs or is not known.
"""

from __future__ import annotations

import csv
from collections.abc import Collection
from functools import cache
from importlib import resources

from tradewind.planner.effort import NOTHING, Task, ThreePoint

ALWAYS = "always"
TRANSFER = "data"
"""The wait of the task that moves the data is not in the table: it follows from bytes and bandwidth."""

SLOWER = (1.0, 1.2, 3.0)
"""A transfer takes so many times what the bandwidth says: at best, most likely, at worst. An assumption."""


def tasks_for(topics: Collection[str], *, transfer_days: float = 0.0) -> list[Task]:
    """Those that apply where these topics differ, in the order in which people take them."""
    return [
        _task(row, transfer_days) for row in _table() if row["when"] == ALWAYS or set(row["when"].split()) & set(topics)
    ]


def _task(row: dict[str, str], transfer_days: float) -> Task:
    low, likely, high = (float(row[part]) for part in ("low", "likely", "high"))
    return Task(
        row["name"],
        ThreePoint(low, likely, high),
        _wait(row, transfer_days),
        tuple(row["needs"].split()),
        what=row["what"],
    )


def _wait(row: dict[str, str], transfer_days: float) -> ThreePoint:
    if row["wait_low"] == TRANSFER:
        return ThreePoint(*(transfer_days * factor for factor in SLOWER))
    if not row["wait_low"]:
        return NOTHING
    return ThreePoint(float(row["wait_low"]), float(row["wait_likely"]), float(row["wait_high"]))


@cache
def _table() -> tuple[dict[str, str], ...]:
    text = resources.files("tradewind.planner.migration").joinpath("tasks.csv").read_text(encoding="utf-8")
    return tuple(csv.DictReader(text.splitlines()))
