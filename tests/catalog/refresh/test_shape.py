from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.catalog.refresh.shape import amount, expect, field
from tradewind.errors import IntegrityError


@pytest.mark.parametrize("record", [None, [], "text", {}, {"sku": 3}, {"sku": None}])
def test_a_field_of_another_shape_is_named(record: object) -> None:
    with pytest.raises(IntegrityError, match=r"the API.*'sku'"):
        field(record, "sku", str, of="the API")


@given(value=st.floats(min_value=0, allow_nan=False, allow_infinity=False))
def test_amounts_are_read_as_number_and_as_text(value: float) -> None:
    assert amount({"usd": value}, "usd", of="the API") == amount({"usd": repr(value)}, "usd", of="the API") == value


@pytest.mark.parametrize("value", [None, True, "", "free", -1, "-0.1", "nan", "inf", [], {}])
def test_what_is_no_amount_is_named(value: object) -> None:
    with pytest.raises(IntegrityError, match="'usd'"):
        amount({"usd": value}, "usd", of="the API")


def test_another_unit_is_never_reckoned_with() -> None:
    with pytest.raises(IntegrityError, match="'unit' is 'Sec', and prices are reckoned with 'Hrs'"):
        expect({"unit": "Sec"}, "unit", "Hrs", of="the API")


def test_long_values_are_shown_short() -> None:
    with pytest.raises(IntegrityError) as wrong:
        field({"sku": ["x" * 1000]}, "sku", str, of="the API")
    assert len(wrong.value.message) < 200
