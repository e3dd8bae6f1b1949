"""The wish for a dataset version: which text, which tokenizer, how much of it held out."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import Field, model_validator

from tradewind.specs.base import Block, Spec
from tradewind.specs.reference import Name
from tradewind.units import Bytes


class TextSpec(Block):
    """Which files are read, each file one document. `{stdlib}` stands for the folder of Python's standard library."""

    files: tuple[str, ...] = Field(min_length=1, description="glob patterns of UTF-8 text files; ** crosses folders")
    exclude: tuple[str, ...] = Field(default=(), description="patterns of paths to leave out")
    max_bytes: Bytes | None = Field(default=None, gt=0, description="stop after this much text")


class TokenizerSpec(Block):
    """A byte-level BPE tokenizer trained on the same text."""

    vocabulary: int = Field(default=2048, ge=257, le=2**31, description="number of tokens, 256 bytes included")


class DatasetSpec(Spec):
    kind: ClassVar[str] = "dataset"

    name: Name
    text: TextSpec
    tokenizer: TokenizerSpec = TokenizerSpec()
    heldout_fraction: float = Field(default=0.02, gt=0, lt=0.5, description="share of documents never trained on")
    shard_bytes: Bytes = Field(default=16 * 1024**2, ge=4096, description="size of one shard object")

    @model_validator(mode="after")
    def _shard_holds_tokens(self) -> Self:
        if self.shard_bytes % 4:
            raise ValueError("shard_bytes must be a multiple of 4, the largest token size in bytes")
        return self
