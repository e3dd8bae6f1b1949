"""Rows of a CSV file, read strictly: whatever is wrong is named with its file, line and column."""

from __future__ import annotations

import csv
import io
import math
import typing
from collections.abc import Container, Iterator, Sequence
from datetime import date
from functools import cache

from tradewind.errors import IntegrityError, did_you_mean

HINT = "the file was cut short or changed by hand; put back the one that was written, or remove it"


def read_sheet(data: bytes, where: str, columns: Sequence[str]) -> Iterator[Row]:
    """The rows below a header of exactly these columns, in any order. Raises IntegrityError."""
    try:
        lines = csv.reader(io.StringIO(data.decode("utf-8"), newline=""), strict=True)
        header = next(lines, [])
        _check_header(header, where, columns)
        index = {column: place for place, column in enumerate(header)}
        width = len(header)
        for cells in lines:
            if len(cells) != width:
                raise _damaged(where, lines.line_num, f"{len(cells)} cells where {width} are needed")
            yield Row(cells, index, where, lines.line_num)
    except UnicodeDecodeError as exc:
        raise IntegrityError(f"{where} is not text in UTF-8: {exc.reason} at byte {exc.start}", hint=HINT) from exc
    except csv.Error as exc:
        raise _damaged(where, lines.line_num, f"not CSV: {exc}") from exc


def write_sheet(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> bytes:
    """What `read_sheet` reads back. None becomes an empty cell."""
    text = io.StringIO(newline="")
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(columns)
    lines.writerows(rows)
    return text.getvalue().encode()


class Row:
    """The cells of one line. Each method raises IntegrityError for a cell that is not what it should be."""

    __slots__ = ("_cells", "_index", "line", "where")

    def __init__(self, cells: list[str], index: dict[str, int], where: str, line: int) -> None:
        self._cells, self._index, self.where, self.line = cells, index, where, line

    def text(self, column: str) -> str:
        return self._cells[self._index[column]]

    def word(self, column: str) -> str:
        """A text that is not empty."""
        return self._cells[self._index[column]] or self._raise(column, "is empty")

    def number(self, column: str, *, least: float = 0.0) -> float | None:
        """A finite number, or None for an empty cell."""
        text = self._cells[self._index[column]]
        if not text:
            return None
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            return self._raise(column, f"{text!r} is not a number")
        return number if number >= least else self._raise(column, f"{text} is less than {least:g}")

    def scaled(self, column: str, unit: float) -> float | None:
        """A number times its unit."""
        number = self.number(column)
        return None if number is None else number * unit

    def whole(self, column: str, unit: int = 1) -> int | None:
        """The same, rounded to a whole number."""
        number = self.number(column)
        return None if number is None else round(number * unit)

    def day(self, column: str) -> date | None:
        text = self._cells[self._index[column]]
        try:
            return _day(text) if text else None
        except ValueError:
            return self._raise(column, f"{text!r} is not a day like 2026-11-21")

    def one_of(self, column: str, known: Container[str]) -> str:
        text = self.text(column)
        return text if text in known else self._raise(column, f"{text!r} is not known")

    def wrong(self, column: str, problem: str) -> IntegrityError:
        """What to raise for a cell."""
        return _damaged(self.where, self.line, problem, column)

    def _raise(self, column: str, problem: str) -> typing.NoReturn:
        raise self.wrong(column, problem)


@cache
def _day(text: str) -> date:
    return date.fromisoformat(text)


def _check_header(header: Sequence[str], where: str, columns: Sequence[str]) -> None:
    for column in header:
        if column not in columns:
            raise _damaged(where, 1, f"unknown column {column!r}{did_you_mean(column, columns)}")
    for column in columns:
        if header.count(column) != 1:
            problem = "is missing" if column not in header else "is there twice"
            raise _damaged(where, 1, f"column {column!r} {problem}")


def _damaged(where: str, line: int, problem: str, column: str = "") -> IntegrityError:
    place = f"{where}, line {line}" + (f", column {column}" if column else "")
    return IntegrityError(f"{place}: {problem}", hint=HINT)
