from __future__ import annotations

import pyarrow as pa
import pytest

from tradewind.ledger.columns import column_type, conformed, needed, schema
from tradewind.records import Usage


def test_each_field_of_a_row_has_its_column() -> None:
    assert schema().names == list(Usage.model_fields)


@pytest.mark.parametrize("annotation", [dict[str, str], bytes, int | str, list[str], object])
def test_field_without_a_column_type_is_refused(annotation: object) -> None:
    with pytest.raises(TypeError, match="no column type for the field cargo"):
        column_type("cargo", annotation)


def test_column_that_may_be_derived_is_read_with_its_sources() -> None:
    assert needed(["team", "run", "model"]) == ["team", "run", "model", "subject", "parents"]


def test_missing_columns_have_their_defaults_or_follow_from_others() -> None:
    old = pa.table(
        {
            "subject": ["run:first", "dataset:tides@1", "transfer"],
            "parents": [["run:first", "dataset:tides@1"], [], None],
            "seconds": [10.0, 0.0, 2.0],
            "usd": [1.0, 3.0, 0.0],
        }
    )
    columns = ("team", "run", "dataset", "allocated_s", "usd_per_hour", "devices", "price_as_of")
    filled = conformed(old, columns)
    assert filled.schema == pa.schema([schema().field(name) for name in columns])
    assert filled.to_pydict() == {
        "team": ["", "", ""],
        "run": ["first", "", ""],
        "dataset": ["tides@1", "tides@1", ""],
        "allocated_s": [10.0, 0.0, 2.0],
        "usd_per_hour": [360.0, 0.0, 0.0],
        "devices": [1, 1, 1],
        "price_as_of": [None, None, None],
    }


def test_column_that_must_be_there_is_missed() -> None:
    with pytest.raises(KeyError, match="seconds"):
        conformed(pa.table({"usd": [1.0]}), ["seconds"])
