"""The wish for a dataset version: which text or table, which tokenizer, how much of it held out."""

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
    """Text or a table. Tokenizer, held-out share and size of shards are those of text."""

    kind: ClassVar[str] = "dataset"

    name: Name
    text: TextSpec | None = None
    table: TableSpec | None = None
    tokenizer: TokenizerSpec = TokenizerSpec()
    heldout_fraction: float = Field(default=0.02, gt=0, lt=0.5, description="share of documents never trained on")
    shard_bytes: Bytes = Field(default=16 * 1024**2, ge=4096, description="size of one shard object")

    @model_validator(mode="after")
    def _text_or_table(self) -> Self:
        if (self.text is None) == (self.table is None):
            raise ValueError("give `text` or `table`" + (", not both" if self.text else ""))
        if self.table is not None:
            names = ("tokenizer", "heldout_fraction", "shard_bytes")
            extra = [name for name in names if getattr(self, name) != DatasetSpec.model_fields[name].default]
            if extra:
                raise ValueError(f"{extra[0]} goes with `text`, not with `table`")
        return self

    @model_validator(mode="after")
    def _shard_holds_tokens(self) -> Self:
        if self.shard_bytes % 4:
            raise ValueError("shard_bytes must be a multiple of 4, the largest token size in bytes")
        return self
