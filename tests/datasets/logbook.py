"""Datasets whose tokens tell where they stand, and what is in them computed the slow way."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from tradewind.datasets.blocks import Tokens
from tradewind.datasets.corpus.packing import put_shard
from tradewind.datasets.dataset import Dataset
from tradewind.datasets.reading.batches import Batches
from tradewind.datasets.reading.order import Segments
from tradewind.datasets.reading.samples import Samples
from tradewind.datasets.shards import list_shards
from tradewind.records import DatasetVersion
from tradewind.storage import Store, open_store
from tradewind.storage.origin import Origin


def dataset(
    sizes: Sequence[int],
    *,
    store: Store | None = None,
    copies: Origin | None = None,
    dtype: str = "uint32",
    first: int = 0,
    name: str = "logbook",
) -> Dataset:
    """Shards of some sizes that together hold `first`, first + 1, first + 2, …"""
    store = store or open_store(f"memory://{uuid.uuid4().hex}")
    ends = first + np.cumsum([0, *sizes])
    shards = [put_shard(store, name, np.arange(*edge).astype(dtype)) for edge in pairwise(ends.tolist())]
    splits = {"train": list_shards(store, name, shards)}
    record = DatasetVersion.model_validate(
        {"name": name, "version": 1, "writer": "w", "dtype": dtype, "splits": splits, "spec": {}}
    )
    return Dataset(store, record, copies)


def samples(sizes: Sequence[int], *, width: int = 6, overlap: int = 1, **where: object) -> Samples:
    return Samples(dataset(sizes, **where), "train", width=width, overlap=overlap)  # type: ignore[arg-type]


def batches(sizes: Sequence[int], *, sequences: int = 4, seed: int = 0, width: int = 6, **how: object) -> Batches:
    return Batches(samples(sizes, width=width), sequences=sequences, seed=seed, **how)  # type: ignore[arg-type]


class Pretended(Samples):
    """Samples of which nothing is stored: for what depends on their numbers alone."""

    name, tokenizer = "pretended@1", None

    def __init__(self, rows: Sequence[int], *, width: int = 6) -> None:
        self.rows, self.width, self.overlap = np.array(rows, dtype=np.int64), width, 1
        self.dtype = np.dtype("<u2")
        self.segments = Segments.of(self.rows)
        self.fingerprint = repr((list(rows), width))


def cut(sizes: Sequence[int], *, width: int = 6, overlap: int = 1, first: int = 0) -> list[list[int]]:
    """The samples of `dataset(sizes)`, by a loop over its shards."""
    found = []
    for start, end in pairwise(np.cumsum([first, *sizes]).tolist()):
        while start + width <= end:
            found.append(list(range(start, start + width)))
            start += width - overlap
    return found


def rows_of(tokens: Tokens) -> list[list[int]]:
    found: list[list[int]] = tokens.tolist()
    return found
