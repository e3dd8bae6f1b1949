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


class ChatSplit(Fact):
    """What the rows of a split hold. Tokens that are neither `trained` on nor `padding` are only seen."""

    rows: int = 0
    trained: int = 0
    padding: int = 0
    cut: int = 0
    """Conversations that were longer than a row, and end where it does."""
    dropped: int = 0
    """Conversations that were left out: too long, or without a token to learn in what a row holds of them."""

    def __add__(self, other: ChatSplit) -> ChatSplit:
        return ChatSplit(**{name: count + getattr(other, name) for name, count in self.model_dump().items()})


class ChatRows(Fact):
    """How conversations became rows of `context` tokens.

    `template` is the Jinja text that wrote them, with the words that `special_tokens` gives it.
    """

    context: int
    train_on: Literal["assistant", "all"]
    template: str
    special_tokens: dict[str, str] = Field(default_factory=dict)
    splits: dict[str, ChatSplit]

    @property
    def total(self) -> ChatSplit:
        return sum(self.splits.values(), ChatSplit())


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
    chat: ChatRows | None = None
    """Set where the tokens are those of conversations; then they carry the marks of `datasets.chat`."""
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
