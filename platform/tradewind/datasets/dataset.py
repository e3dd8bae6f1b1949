"""One immutable version of a dataset, opened for reading."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tradewind import progress
from tradewind.datasets.tokenizer import load_tokenizer
from tradewind.errors import NotFoundError, did_you_mean
from tradewind.records import DatasetVersion, Split
from tradewind.storage import Store, fetch_content, get_content

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Tokens = NDArray[np.unsignedinteger]


@dataclass(frozen=True)
class Dataset:
    """What a record describes, with the store that holds its bytes. Every byte is verified before it is used."""

    store: Store
    record: DatasetVersion

    @property
    def reference(self) -> str:
        return f"{self.record.name}@{self.record.version}"

    def split(self, name: str) -> Split:
        """Raises NotFoundError with the splits that there are."""
        if name not in self.record.splits:
            known = did_you_mean(name, self.record.splits)
            raise NotFoundError(f"{self.reference} has no split {name!r}{known}")
        return self.record.splits[name]

    def shards(self, split: str) -> Iterator[Tokens]:
        """The token ids of each shard, memory-mapped. Raises IntegrityError for a shard that was cut or altered."""
        for shard in self.split(split).shards:
            path = fetch_content(self.store, shard, what=f"dataset {self.reference}")
            yield np.memmap(path, dtype=np.dtype(self.record.dtype).newbyteorder("<"), mode="r")

    def tokenizer_json(self) -> bytes:
        return get_content(self.store, self.record.tokenizer, what=f"dataset {self.reference}")

    def tokenizer(self) -> Tokenizer:
        return load_tokenizer(self.tokenizer_json(), what=f"dataset {self.reference}")

    def verify(self) -> int:
        """Read every file and check it. Returns the bytes read. Raises IntegrityError at the first that is wrong."""
        files = [self.record.tokenizer, *(shard for split in self.record.splits.values() for shard in split.shards)]
        with progress.track(f"verify {self.reference}", total=sum(file.num_bytes for file in files)) as bar:
            for file in files:
                get_content(self.store, file, what=f"dataset {self.reference}")
                bar.advance(file.num_bytes)
        return sum(file.num_bytes for file in files)
