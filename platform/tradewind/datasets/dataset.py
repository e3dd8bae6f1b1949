"""One immutable version of a dataset, opened for reading."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from tradewind.datasets.blocks import Tokens
from tradewind.datasets.copies.catalog import open_home
from tradewind.datasets.shards import ShardTable, open_shards
from tradewind.datasets.table import check_known, read_rows, schema_of
from tradewind.datasets.tokenizer import load_tokenizer
from tradewind.errors import IntegrityError, NotFoundError, SpecError, did_you_mean
from tradewind.records import DatasetVersion, Split, StoredFile, TokenizerFile
from tradewind.storage import Store
from tradewind.storage.cache import CachedFile, default_cache
from tradewind.storage.origin import Origin, StoreOrigin
from tradewind.storage.verification import Verification, verify_files

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from tokenizers import Tokenizer


@dataclass(frozen=True)
class Dataset:
    """What a record describes, with the store that holds its bytes. Every byte is verified before it is used."""

    store: Store
    record: DatasetVersion
    copies: Origin | None = None
    """Where files are read from when not from the store alone."""

    @cached_property
    def origin(self) -> Origin:
        return self.copies or StoreOrigin(self.store)

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
        for shard in self.shard_table(split):
            with self.open_file(shard) as file:
                yield np.frombuffer(file.map(), dtype=self.dtype, count=shard.tokens)

    def shard_table(self, split: str) -> ShardTable:
        """Which shards a split has. Raises IntegrityError when their listing is damaged."""
        return open_shards(self.origin, self.record, self.split(split))

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger]:
        """The type of the token ids in the shards. Raises SpecError for a table."""
        if self.record.dtype is None:
            raise SpecError(f"{self.reference} is a table, not tokens", hint="read its rows, or tokenize it first")
        return np.dtype(self.record.dtype).newbyteorder("<")

    def check_rows(self, tokens_per_sequence: int) -> None:
        """Raises SpecError for conversations that lie in rows of another length. Text has no rows until it is cut."""
        chat = self.record.chat
        if chat and chat.context != tokens_per_sequence:
            raise SpecError(
                f"{self.reference} holds conversations in rows of {chat.context} tokens, and not of "
                f"{tokens_per_sequence}",
                hint=f"set tokens_per_sequence to {chat.context}, or add it again with chat.context of "
                f"{tokens_per_sequence}",
            )

    @property
    def tokenizer_file(self) -> TokenizerFile:
        """Raises SpecError for a dataset that was not made of text."""
        if self.record.tokenizer is None:
            raise SpecError(f"{self.reference} has no tokenizer", hint="only datasets made of text have one")
        return self.record.tokenizer

    def tokenizer_json(self) -> bytes:
        with self.open_file(self.tokenizer_file) as file:
            return file.map()[:]

    def tokenizer(self) -> Tokenizer:
        return load_tokenizer(self.tokenizer_json(), what=f"dataset {self.reference}")

    def verify(self) -> int:
        """Read every byte and check it. Returns the bytes read. Raises IntegrityError that names all damaged files."""
        return self.verification(or_raise=True).num_bytes

    def verification(self, *, or_raise: bool = False) -> Verification:
        """Read every byte from the store, not from copies or the cache, and tell which files are damaged.

        What that costs is counted by the meter of `origin`. Raises QuotaError when the egress budget does not cover it.
        """
        files: list[StoredFile] = [self.record.tokenizer] if self.record.tokenizer else []
        damaged = []
        for name, split in self.record.splits.items():
            files += [split.listing] if split.listing else []
            try:
                files += self.shard_table(name)
            except IntegrityError:
                damaged.append(
                    IntegrityError(
                        f"dataset {self.reference}: the shards of {name} cannot be listed",
                        hint="restore the listing from a copy",
                    )
                )
        home = open_home(self.store, meter=self.origin.meter)
        return verify_files(home, files, what=f"dataset {self.reference}", damaged=damaged, or_raise=or_raise)

    def rows(
        self, split: str = "train", *, columns: Sequence[str] | None = None, rows_at_once: int | None = None
    ) -> Iterator[pa.RecordBatch]:
        """The rows of a table as Arrow record batches, a row group or `rows_at_once` at a time.

        The next file is fetched while one is read. Raises NotFoundError for a column that is not there, IntegrityError
        for a file that was cut or altered.
        """
        self._check_table(columns)
        for file in self._ahead(self.shard_table(split)):
            with file:
                yield from read_rows(file.path, columns, rows_at_once=rows_at_once)

    def to_arrow(self, split: str = "train", *, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows of a table as one Arrow table in memory."""
        import pyarrow as pa

        return pa.Table.from_batches(
            self.rows(split, columns=columns), schema=self.arrow_schema(split, columns=columns)
        )

    def to_pandas(self, split: str = "train", *, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """All rows of a table as a pandas frame."""
        table = self.to_arrow(split, columns=columns)
        try:
            return table.to_pandas()
        except ModuleNotFoundError as exc:
            raise SpecError("pandas is not installed", hint="pip install pandas, or use to_arrow()") from exc

    def to_ray(
        self, split: str = "train", *, columns: Sequence[str] | None = None, tokens_per_sequence: int | None = None
    ) -> Any:
        """A `ray.data.Dataset`: the rows of a table; or of tokens the samples that training cuts, unshuffled.

        A sample is a row of column `tokens` with `tokens_per_sequence` + 1 of them. Files are verified where they are
        read.
        """
        from tradewind.datasets.ray_source import read

        return read(self, split, columns=columns, tokens_per_sequence=tokens_per_sequence)

    def arrow_schema(self, split: str = "train", *, columns: Sequence[str] | None = None) -> pa.Schema:
        """The Arrow schema of a table, as its first file has it."""
        self._check_table(columns)
        with self.open_file(self.shard_table(split)[0]) as file:
            return schema_of(file.path, columns)

    def open_file(self, file: StoredFile) -> CachedFile:
        """A verified file of this version on this machine, which stays there until it is closed."""
        return default_cache().open(self.origin, file, what=f"dataset {self.reference}")

    def _ahead(self, files: Iterable[StoredFile]) -> Iterator[CachedFile]:
        """Open files, one of them ahead. Who takes a file closes it."""
        with ThreadPoolExecutor(1, thread_name_prefix="tradewind-rows") as pool:
            waiting: deque[Future[CachedFile]] = deque()
            try:
                for file in files:
                    waiting.append(pool.submit(self.open_file, file))
                    if len(waiting) > 1:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for left in waiting:
                    if not left.cancel() and not left.exception():
                        left.result().close()

    def _check_table(self, columns: Sequence[str] | None) -> None:
        if self.record.format != "table":
            raise SpecError(f"{self.reference} holds tokens, not rows", hint="read its shards, or batches of it")
        check_known(columns, self.record.columns, what=self.reference)
