"""The record of a dataset version: its manifest."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from tradewind.records.base import Fact, Record, StoredFile


class Shard(StoredFile):
    """A part of a split. Raw little-endian token ids followed by the checksums of their blocks, or a Parquet file."""

    tokens: int = 0
    rows: int = 0


class Split(Fact):
    """Where there are many shards, an Arrow file lists the first of them. `shards` are those that follow."""

    shards: tuple[Shard, ...] = ()
    listing: StoredFile | None = None
    documents: int = 0
    tokens: int = 0
    rows: int = 0


class TokenizerFile(StoredFile):
    """A `tokenizer.json` of the `tokenizers` library."""

    vocabulary: int
    end_of_text: str


class DatasetVersion(Record):
    """`dtype` and `tokenizer` are those of tokens; `columns` maps the columns of a table to their Arrow types."""

    kind: ClassVar[str] = "dataset"

    name: str
    version: int
    writer: str
    format: Literal["tokens", "table"] = "tokens"
    dtype: Literal["uint16", "uint32"] | None = None
    splits: dict[str, Split]
    tokenizer: TokenizerFile | None = None
    columns: dict[str, str] = Field(default_factory=dict)
    text_bytes: int = 0
    duplicates: int = 0
    """Documents that were left out because they came before."""
    spec: dict[str, Any]

    @property
    def id(self) -> str:
        return f"{self.kind}:{self.name}@{self.version}"

    @property
    def tokens(self) -> int:
        return sum(split.tokens for split in self.splits.values())

    @property
    def documents(self) -> int:
        return sum(split.documents for split in self.splits.values())

    @property
    def rows(self) -> int:
        return sum(split.rows for split in self.splits.values())
