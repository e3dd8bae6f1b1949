"""The wish for a dataset version of rows: which files hold those of each split."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from tradewind.specs.base import Block
from tradewind.specs.reference import Name
from tradewind.units import Bytes

Patterns = Annotated[tuple[str, ...], Field(min_length=1)]


class TableSpec(Block):
    """Files of Parquet, CSV, JSON lines or Arrow. All splits have the same columns."""

    splits: dict[Name, Patterns] = Field(min_length=1, description="paths or patterns of the files of each split")
    file_bytes: Bytes = Field(default=64 * 1024**2, ge=1024**2, description="size of one Parquet file, compressed")
    row_group_bytes: Bytes = Field(default=16 * 1024**2, ge=64 * 1024, description="rows read at a time, in memory")

    @model_validator(mode="after")
    def _file_holds_row_groups(self) -> Self:
        if self.row_group_bytes > 16 * self.file_bytes:
            raise ValueError("row_group_bytes is more than 16 times file_bytes; a file holds at least one row group")
        return self
