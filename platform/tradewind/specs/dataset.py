"""The wish for a dataset version: which text, table or conversations, which tokenizer, how much of it held out."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from tradewind.specs.base import Block, Spec
from tradewind.specs.reference import Name, Ref
from tradewind.specs.table import TableSpec
from tradewind.units import Bytes

NEW_VOCABULARY = 2048


class TextSpec(Block):
    """Which text is read, from files here or on a store. `{stdlib}` stands for the folder of Python's library.

    Files of JSON lines and Parquet hold many documents, in one column; any other file is one document.
    """

    files: tuple[str, ...] = Field(min_length=1, description="glob patterns or store URLs; ** crosses folders")
    exclude: tuple[str, ...] = Field(default=(), description="patterns of paths to leave out")
    column: str = Field(default="text", min_length=1, description="which column of JSON lines and Parquet is the text")
    max_bytes: Bytes | None = Field(default=None, gt=0, description="stop after this much text")
    deduplicate: Literal["exact", "none"] = Field(
        default="exact", description="whether documents that are equal are kept once or each time"
    )


class ChatSpec(Block):
    """Which conversations are read: rows of JSON lines and Parquet with a list of messages, each of a role.

    Conversations stand side by side in rows of `context` tokens, and none is in two rows.
    """

    files: tuple[str, ...] = Field(min_length=1, description="glob patterns or store URLs; ** crosses folders")
    exclude: tuple[str, ...] = Field(default=(), description="patterns of paths to leave out")
    column: str = Field(default="messages", min_length=1, description="which column is the list of messages")
    context: int = Field(ge=8, le=2**24, description="tokens of a row, the tokens_per_sequence of training")
    template: str | None = Field(default=None, min_length=1, description="a Jinja chat template, or where one is")
    train_on: Literal["assistant", "all"] = Field(default="assistant", description="whose words are learned")
    too_long: Literal["cut", "drop", "refuse"] = Field(
        default="cut", description="what becomes of a conversation that is longer than a row"
    )
    max_bytes: Bytes | None = Field(default=None, gt=0, description="stop after this much, as JSON")
    deduplicate: Literal["exact", "none"] = Field(
        default="exact", description="whether conversations that are equal are kept once or each time"
    )


class TokenizerSpec(Block):
    """A byte-level BPE tokenizer trained on the same text, or one that there is already."""

    model_config = ConfigDict(serialize_by_alias=True)

    vocabulary: int = Field(default=NEW_VOCABULARY, ge=257, le=2**31, description="number of tokens of a new one")
    from_: Ref | None = Field(default=None, alias="from", description="a dataset whose tokenizer is taken")
    file: str | None = Field(default=None, min_length=1, description="path or URL of a tokenizer.json that is taken")
    end_of_text: str | None = Field(default=None, min_length=1, description="the token of `file` that ends a document")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        taken = [word for word, value in (("from", self.from_), ("file", self.file)) if value is not None]
        if len(taken) == 2:
            raise ValueError("give `from` or `file`, not both")
        if taken and self.vocabulary != NEW_VOCABULARY:
            raise ValueError(f"vocabulary is that of a new tokenizer; leave it out where `{taken[0]}` names one")
        if self.end_of_text is not None and self.file is None:
            raise ValueError("end_of_text goes with `file`; other tokenizers know theirs")
        return self


class DatasetSpec(Spec):
    """Text, a table or conversations. Tokenizer, held-out share and size of shards are not those of a table."""

    kind: ClassVar[str] = "dataset"

    name: Name
    text: TextSpec | None = None
    table: TableSpec | None = None
    chat: ChatSpec | None = None
    tokenizer: TokenizerSpec = TokenizerSpec()
    heldout_fraction: float = Field(default=0.02, gt=0, lt=0.5, description="share of documents never trained on")
    shard_bytes: Bytes = Field(default=16 * 1024**2, ge=4096, description="size of one shard object")

    @model_validator(mode="after")
    def _one_content(self) -> Self:
        given = [word for word in ("text", "table", "chat") if getattr(self, word) is not None]
        if len(given) != 1:
            raise ValueError("give `text`, `table` or `chat`" + (f", not {' and '.join(given)}" if given else ""))
        if self.table is not None:
            names = ("tokenizer", "heldout_fraction", "shard_bytes")
            extra = [name for name in names if getattr(self, name) != DatasetSpec.model_fields[name].default]
            if extra:
                raise ValueError(f"{extra[0]} goes with `text` and `chat`, not with `table`")
        return self

    @model_validator(mode="after")
    def _shard_holds_tokens(self) -> Self:
        if self.shard_bytes % 4:
            raise ValueError("shard_bytes must be a multiple of 4, the largest token size in bytes")
        if self.chat and self.shard_bytes < 4 * (self.chat.context + 1):
            raise ValueError(f"shard_bytes must hold a row of {self.chat.context} tokens and one more, 4 bytes each")
        return self
