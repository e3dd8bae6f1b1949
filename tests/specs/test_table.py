from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from tradewind.specs.table import TableSpec


def test_a_split_is_a_list_of_patterns() -> None:
    spec = TableSpec.model_validate({"splits": {"train": ["a/*.parquet", "b.parquet"]}, "file_bytes": "128MiB"})
    assert spec.splits == {"train": ("a/*.parquet", "b.parquet")}
    assert (spec.file_bytes, spec.row_group_bytes) == (128 * 2**20, 16 * 2**20)
    assert TableSpec.model_validate(spec.model_dump(mode="json")) == spec


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"splits": {}},
        {"splits": {"train": []}},
        {"splits": {"Not a name": ["a"]}},
        {"splits": {"train": ["a"]}, "files": ["b"]},
        {"splits": {"train": ["a"]}, "file_bytes": "1MiB", "row_group_bytes": "17MiB"},
    ],
)
def test_what_makes_no_table_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TableSpec.model_validate(values)
