"""The samples of a split: rows of tokens of one length, cut from its shards, and read in any order.

A sample never crosses the end of a shard, so what is left there is not used; with shards of 16 MiB that is less than
one token in a thousand.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tradewind.datasets import blocks
from tradewind.datasets.blocks import Tokens
from tradewind.datasets.chat.marks import CONTEXT_BIT, END_BIT
from tradewind.datasets.dataset import Dataset
from tradewind.datasets.reading.order import Indices, Segments
from tradewind.datasets.shards import ShardTable
from tradewind.errors import SpecError
from tradewind.records import Shard
from tradewind.storage.cache import Cache, CachedFile, default_cache


class Samples:
    """Samples of `width` tokens; neighbours share `overlap` of them.

    An overlap of one is what next-token prediction wants: inputs, and the same shifted by one. Raises SpecError when no
    shard is long enough or conversations lie in rows of another length, IntegrityError for a damaged list of shards.
    """

    def __init__(self, dataset: Dataset, split: str, *, width: int, overlap: int = 1) -> None:
        if not 0 <= overlap < width:
            raise SpecError(f"samples of {width} tokens cannot share {overlap}", hint="share fewer than they have")
        self.dataset, self.split, self.width, self.overlap = dataset, split, width, overlap
        dataset.check_rows(self.stride)
        self.dtype = dataset.dtype
        self.table: ShardTable = dataset.shard_table(split)
        self.rows: Indices = np.maximum(0, (self.table.tokens - overlap) // self.stride)
        self.segments = Segments.of(self.rows)
        if self.size == 0:
            raise SpecError(
                f"no shard of {dataset.reference} ({split}) holds {width} tokens",
                hint="choose a smaller tokens_per_sequence, or more text",
            )

    @property
    def name(self) -> str:
        """Of the dataset, as `name@version`."""
        return self.dataset.reference

    @property
    def tokenizer(self) -> str | None:
        """The checksum of the dataset's tokenizer, if it has one."""
        file = self.dataset.record.tokenizer
        return file.sha256 if file else None

    @property
    def size(self) -> int:
        return self.segments.size

    @property
    def stride(self) -> int:
        """Tokens from the start of a sample to that of the next."""
        return self.width - self.overlap

    @cached_property
    def fingerprint(self) -> str:
        """What the samples are, whatever the dataset is called and wherever it is stored."""
        shape = f"{self.width}:{self.overlap}:{self.dtype.itemsize}:".encode()
        return hashlib.sha256(shape + self.table.sha256.tobytes() + self.table.tokens.tobytes()).hexdigest()

    def view(self, shard: Shard, tokens: Tokens) -> Tokens:
        """The samples of a shard, [rows, width], without a copy of its tokens."""
        rows = max(0, (shard.tokens - self.overlap) // self.stride)
        step = tokens.strides[0]
        return np.lib.stride_tricks.as_strided(
            tokens, shape=(rows, self.width), strides=(self.stride * step, step), writeable=False
        )

    def read(self, indices: Indices | Sequence[int], *, cache: Cache | None = None) -> Tokens:
        """Some samples by their number, [len(indices), width], through the cache. Raises IntegrityError."""
        wanted = np.asarray(indices, dtype=np.int64)
        shards, rows = self.segments.find(wanted)
        found = np.empty((len(wanted), self.width), dtype=self.dtype)
        for shard in np.unique(shards).tolist():
            here = shards == shard
            with self.open(shard, cache or default_cache()) as file:
                found[here] = self.map(shard, file)[rows[here]]
        return found

    def open(self, index: int, cache: Cache) -> CachedFile:
        """The verified file of a shard, downloaded if need be."""
        shard, what = self.table[index], f"dataset {self.dataset.reference}"
        if not blocks.has_checksums(shard, self.dtype):
            return cache.open(self.dataset.origin, shard, what=what)
        length = blocks.token_bytes(shard, self.dtype)
        return cache.open(self.dataset.origin, shard, what=what, is_whole=lambda data: blocks.is_whole(data, length))

    def map(self, index: int, file: CachedFile) -> Tokens:
        """The samples of a shard that was opened, [rows, width], memory-mapped."""
        shard = self.table[index]
        return self.view(shard, np.frombuffer(file.map(), dtype=self.dtype, count=shard.tokens))


def boundaries(tokens: Tokens, *, end_of_text: int) -> NDArray[np.int32]:
    """Which document of its row each token belongs to, [rows, width], counted from 0: what attention masks are made of.

    A document of text ends with its end-of-text token, a conversation where its marks say; so give tokens as they were
    read, with their marks. Tokens of a row may attend to each other where their numbers agree.
    """
    last = tokens == end_of_text
    if tokens.dtype.itemsize == 4:  # a row of conversations begins with a token that only they have
        last = np.where(tokens[:, :1] >= CONTEXT_BIT, tokens & np.uint32(END_BIT) != 0, last)
    ends = last.astype(np.int32)
    numbers: NDArray[np.int32] = np.cumsum(ends, axis=1, dtype=np.int32)
    numbers -= ends
    return numbers
