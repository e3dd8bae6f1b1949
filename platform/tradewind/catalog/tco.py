"""What machines of one's own cost: ranges that pages of others name, from `tco.csv`. No quotes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import cache

from tradewind.catalog.sheet import read_sheet
from tradewind.catalog.tables import shipped_files

COLUMNS = ("item", "low", "high", "unit", "as_of", "source", "note")


@dataclass(frozen=True)
class TcoInput:
    item: str
    low: float
    high: float
    unit: str
    as_of: date | None
    source: str
    note: str


@cache
def tco_inputs() -> tuple[TcoInput, ...]:
    """An item may be there several times, from several sources. Raises IntegrityError for a damaged table."""
    return tuple(one for where, data in shipped_files("tco") for one in read_tco(data, where))


def read_tco(data: bytes, where: str) -> Iterator[TcoInput]:
    """Raises IntegrityError."""
    for row in read_sheet(data, where, COLUMNS):
        low, high = row.number("low"), row.number("high")
        if low is None or high is None or high < low:
            raise row.wrong("high", "a range is two numbers, the lower one first")
        yield TcoInput(
            row.word("item"), low, high, row.word("unit"), row.day("as_of"), row.word("source"), row.text("note")
        )
