from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.catalog.sheet import read_sheet, write_sheet
from tradewind.errors import IntegrityError

COLUMNS = ("name", "price")


def read(text: str | bytes) -> list[tuple[str, str]]:
    data = text.encode() if isinstance(text, str) else text
    return [(row.text("name"), row.text("price")) for row in read_sheet(data, "a.csv", COLUMNS)]


cells = st.text(st.characters(codec="utf-8", exclude_characters="\x00\r"))


@given(st.lists(st.tuples(cells, cells)))
def test_whatever_is_written_is_read_back(rows: list[tuple[str, str]]) -> None:
    assert read(write_sheet(COLUMNS, rows)) == [tuple(row) for row in rows]


def test_columns_may_stand_in_any_order() -> None:
    assert read("price,name\n1,a\n") == [("a", "1")]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "a.csv, line 1: column 'name' is missing"),
        ("name\na\n", "a.csv, line 1: column 'price' is missing"),
        ("name,prise\na,1\n", r"a.csv, line 1: unknown column 'prise' \(did you mean 'price'\?\)"),
        ("name,price,price\na,1,1\n", "a.csv, line 1: column 'price' is there twice"),
        ("name,price\na,1\nb\n", "a.csv, line 3: 1 cells where 2 are needed"),
        ("name,price\na,1\n\n", "a.csv, line 3: 0 cells where 2 are needed"),
        ('name,price\n"a"b,1\n', "a.csv, line 2: not CSV: "),
        ('name,price\n"a,1\n', "a.csv, line 2: not CSV: "),
        (b"name,price\n\xff,1\n", "a.csv is not text in UTF-8: invalid start byte at byte 11"),
    ],
)
def test_damaged_file_is_named_with_the_line(text: str | bytes, complaint: str) -> None:
    with pytest.raises(IntegrityError, match=complaint):
        read(text)


def test_day_that_is_none_is_refused() -> None:
    [row] = read_sheet(b"name,price\n2026-02-30,1\n", "a.csv", COLUMNS)
    with pytest.raises(IntegrityError, match=r"a.csv, line 2, column name: '2026-02-30' is not a day like 2026-11-21"):
        row.day("name")
