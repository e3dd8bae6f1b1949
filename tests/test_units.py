from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from tradewind.units import (
    BYTES,
    SECONDS,
    Bytes,
    Seconds,
    format_bytes,
    format_count,
    format_latency,
    format_seconds,
    format_usd,
    parse_bytes,
    parse_seconds,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (90, 90),
        (1.5, 1.5),
        ("90", 90),
        ("90s", 90),
        ("1.5 h", 5400),
        (" 2 min ", 120),
        ("250ms", 0.25),
        ("1e2s", 100),
        ("1d", 86400),
        (".5s", 0.5),
        ("+3s", 3),
        (0, 0),
    ],
)
def test_time_is_read_with_or_without_a_unit(text: Any, seconds: float) -> None:
    assert parse_seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        (1048576, 2**20),
        ("16MiB", 16 * 2**20),
        ("2 GB", 2 * 10**9),
        ("1.5KiB", 1536),
        ("1kB", 1000),
        ("7", 7),
        ("1PiB", 2**50),
    ],
)
def test_size_is_read_with_or_without_a_unit(text: Any, count: int) -> None:
    assert parse_bytes(text) == count
    assert isinstance(parse_bytes(text), int)


@pytest.mark.parametrize(
    "text", ["", "s", "five s", "-5s", -5, "5 parsecs", "1 2", "1s2", True, None, [5], "nan", "inf"]
)
def test_what_is_not_a_time_is_refused_with_what_is_allowed(text: Any) -> None:
    with pytest.raises(ValueError, match=r"use a number ≥ 0 with one of ms, s, min, h, d, like '90s'"):
        parse_seconds(text)


@pytest.mark.parametrize("text", ["16 mib", "16Mb", "-1MiB", "16 s", False, math.nan, math.inf])
def test_what_is_not_a_size_is_refused_with_what_is_allowed(text: Any) -> None:
    with pytest.raises(ValueError, match=r"use a number ≥ 0 with one of B, kB, .*, like '16MiB'"):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("parse", "text"), [(parse_seconds, "1e308d"), (parse_bytes, "1e308GB"), (parse_bytes, "9" * 400)]
)
def test_quantity_beyond_all_numbers_is_refused(parse: Any, text: str) -> None:
    with pytest.raises(ValueError, match="use a number"):
        parse(text)


def test_wrong_unit_is_named() -> None:
    with pytest.raises(ValueError, match=r"'sec' in '5 sec' is not a unit of a time"):
        parse_seconds("5 sec")


@given(st.integers(0, 2**53), st.sampled_from(["", "B"]), st.sampled_from(["", " "]))
def test_every_whole_number_of_bytes_is_read_exactly(count: int, unit: str, space: str) -> None:
    assert parse_bytes(f"{count}{space}{unit}") == count
    assert parse_bytes(count) == count


@given(st.floats(0, 1e9), st.sampled_from(sorted(SECONDS)))
def test_every_time_unit_scales_its_number(number: float, unit: str) -> None:
    assert parse_seconds(f"{number!r}{unit}") == pytest.approx(number * SECONDS[unit])


@given(st.text(max_size=20))
def test_any_text_is_read_or_refused_with_value_error(text: str) -> None:
    for parse in (parse_seconds, parse_bytes):
        try:
            quantity = parse(text)
        except ValueError:
            continue
        assert quantity >= 0


def test_binary_and_decimal_prefixes_differ() -> None:
    assert BYTES["MiB"] == 2**20
    assert BYTES["MB"] == 10**6


def test_fields_take_units_and_say_where_they_are_wrong() -> None:
    class Wait(BaseModel):
        timeout_s: Seconds
        size: Bytes

    assert Wait(timeout_s="2 min", size="1KiB") == Wait(timeout_s=120, size=1024)
    with pytest.raises(ValidationError, match="timeout_s"):
        Wait(timeout_s="-1s", size=1)
    properties = Wait.model_json_schema()["properties"]
    assert properties["timeout_s"]["type"] == ["number", "string"]
    assert properties["size"]["examples"] == ["16MiB"]


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.5 KiB"),
        (2**20, "1.0 MiB"),
        (3 * 2**30, "3.0 GiB"),
        (2**41, "2.0 TiB"),
        (2**51, "2048.0 TiB"),
    ],
)
def test_bytes_are_written_in_binary_units(count: int, text: str) -> None:
    assert format_bytes(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (1.25, "1.2 s"),
        (42, "42 s"),
        (75, "1 min 15 s"),
        (119.7, "2 min 0 s"),
        (3600, "1 h 0 min"),
        (90061, "25 h 1 min"),
    ],
)
def test_seconds_are_written_for_people(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0.0 ms"), (0.00123, "1.2 ms"), (0.0999, "99.9 ms"), (0.25, "250 ms"), (1.5, "1.50 s")]
)
def test_short_times_keep_what_matters_of_them(seconds: float, text: str) -> None:
    assert format_latency(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (999, "999"), (1000, "1 k"), (1234567, "1.23 M"), (999_999, "1 M"), (999_999_999, "1 G"), (5e12, "5 T")],
)
def test_counts_are_written_with_three_digits(count: float, text: str) -> None:
    assert format_count(count) == text


@pytest.mark.parametrize(
    ("usd", "text"),
    [(0, "$0.00"), (0.00123, "$0.0012"), (0.01, "$0.01"), (12.345, "$12.35"), (-5, "-$5.00"), (-0.00123, "-$0.0012")],
)
def test_small_amounts_of_money_keep_two_digits(usd: float, text: str) -> None:
    assert format_usd(usd) == text
