"""The record of a dataset version: its manifest."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from tradewind.records.base import Fact, Record, StoredFile


class Shard(StoredFile):
    """Raw little-endian token ids, nothing else."""

    tokens: int


class Split(Fact):
    shards: tuple[Shard, ...]
    documents: int
    tokens: int


class TokenizerFile(StoredFile):
    """A `tokenizer.json` of the `tokenizers` library."""

    vocabulary: int
    end_of_text: str


class DatasetVersion(Record):
    kind: ClassVar[str] = "dataset"

    name: str
    version: int
    writer: str
    dtype: Literal["uint16", "uint32"]
    splits: dict[str, Split]
    tokenizer: TokenizerFile
    text_bytes: int
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
