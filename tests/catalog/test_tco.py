from __future__ import annotations

import pytest

from tradewind.catalog.tco import read_tco, tco_inputs
from tradewind.errors import IntegrityError


def test_each_range_has_a_unit_and_a_source() -> None:
    assert tco_inputs()
    for one in tco_inputs():
        assert 0 <= one.low <= one.high
        assert one.unit
        assert one.source


def test_range_that_is_upside_down_is_refused() -> None:
    data = b"item,low,high,unit,as_of,source,note\nnode,3,2,USD,,page,\n"
    with pytest.raises(IntegrityError, match=r"tco.csv, line 2, column high: a range is two numbers"):
        list(read_tco(data, "tco.csv"))
