"""Documents become token shards: encoded in their order, joined, and cut into shards of one size."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tradewind.datasets import blocks
from tradewind.datasets.blocks import Tokens
from tradewind.datasets.corpus.documents import Document
from tradewind.datasets.corpus.pieces import pieces
from tradewind.datasets.shards import data_prefix
from tradewind.records import Shard
from tradewind.storage import Store, put_content

if TYPE_CHECKING:
    from tokenizers import Tokenizer

UINT16_VOCABULARY = 65536
AT_ONCE = 2**20
"""Characters encoded at once, by all processors together: some 150 MB."""


def token_type(vocabulary: int) -> np.dtype[np.unsignedinteger]:
    """The smallest type that holds every id."""
    return np.dtype(np.uint16) if vocabulary <= UINT16_VOCABULARY else np.dtype(np.uint32)


class Packer:
    """Joins arrays of ids and cuts them into pieces of `shard_bytes`."""

    counts = None
    """Documents of text become tokens as they are: there is nothing to tell."""

    def __init__(self, dtype: np.dtype[np.unsignedinteger], *, shard_bytes: int) -> None:
        self._per_shard = shard_bytes // dtype.itemsize
        self._held: list[Tokens] = []
        self._length = 0

    def add(self, array: Tokens) -> Iterator[Tokens]:
        """The pieces that have become full."""
        self._held.append(array)
        self._length += len(array)
        if self._length < self._per_shard:
            return
        joined = np.concatenate(self._held)
        whole = len(joined) // self._per_shard * self._per_shard
        # A copy: a view of the rest would keep all of it in memory.
        self._held, self._length = [joined[whole:].copy()], len(joined) - whole
        yield from (joined[start : start + self._per_shard] for start in range(0, whole, self._per_shard))

    def rest(self) -> Iterator[Tokens]:
        """What is left at the end: one shorter piece, or none."""
        if self._length:
            yield np.concatenate(self._held)


@dataclass(frozen=True)
class Encoder:
    """A tokenizer, and the token that ends a document."""

    tokenizer: Tokenizer
    end: int
    dtype: np.dtype[np.unsignedinteger]

    def packer(self, shard_bytes: int) -> Packer:
        return Packer(self.dtype, shard_bytes=shard_bytes)

    def arrays(self, documents: Sequence[Document]) -> Iterator[Tokens]:
        return self.encode([document.text for document in documents])

    def encode(self, texts: list[str]) -> Iterator[Tokens]:
        """The ids of each text, with the end of text behind them."""
        cut = [list(pieces(text, may_cut=self._may_cut)) for text in texts]
        arrays = self._encode([piece for some in cut for piece in some])
        end = np.array([self.end], dtype=self.dtype)
        for some in cut:
            yield np.concatenate([*itertools.islice(arrays, len(some)), end])

    def _encode(self, texts: list[str]) -> Iterator[Tokens]:
        for batch in batched(texts):
            for encoding in self.tokenizer.encode_batch_fast(batch, add_special_tokens=False):
                yield np.array(encoding.ids, dtype=self.dtype)

    def _may_cut(self, before: str, after: str) -> bool:
        whole, first, second = (
            self.tokenizer.encode(text, add_special_tokens=False).ids for text in (before + after, before, after)
        )
        return bool(whole == [*first, *second])


def batched(texts: list[str]) -> Iterator[list[str]]:
    """The texts in lists that may be encoded at once."""
    held, size = list[str](), 0
    for text in texts:
        held.append(text)
        size += len(text)
        if size >= AT_ONCE:
            yield held
            held, size = [], 0
    if held:
        yield held


def put_shard(store: Store, name: str, tokens: Tokens) -> Shard:
    """Store a shard of a dataset; the same ids twice are stored once."""
    stored = put_content(store, data_prefix(name), blocks.encode(tokens), suffix=".tok")
    return Shard(**stored.model_dump(), tokens=len(tokens))
