"""Dataset versions as Ray Data: a read task opens some shards, verifies them where it runs, and gives Arrow tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import ray.data
from ray.data.block import BlockMetadata
from ray.data.datasource import Datasource, ReadTask

from tradewind.datasets.dataset import Dataset
from tradewind.datasets.table import read_rows
from tradewind.errors import SpecError
from tradewind.records import Shard

COLUMN = "tokens"


def read(dataset: Dataset, split: str, *, columns: Sequence[str] | None, tokens_per_sequence: int | None) -> Any:
    """The rows of a table; or samples of tokens, as training cuts them."""
    if dataset.record.format == "table":
        if tokens_per_sequence is not None:
            raise SpecError(f"{dataset.reference} is a table and has no samples", hint="leave tokens_per_sequence out")
        schema = dataset.arrow_schema(split, columns=columns)
        return ray.data.read_datasource(ShardSource(dataset, split, schema, partial(_rows, columns=columns), _num_rows))
    if tokens_per_sequence is None or tokens_per_sequence < 1 or columns is not None:
        raise SpecError(
            f"{dataset.reference} holds tokens, not rows",
            hint="say how many make a sample: to_ray(split, tokens_per_sequence=1024)",
        )
    dataset.check_rows(tokens_per_sequence)
    schema = pa.schema({COLUMN: pa.list_(pa.from_numpy_dtype(dataset.dtype), tokens_per_sequence + 1)})
    samples, count = partial(_samples, length=tokens_per_sequence), partial(_num_samples, length=tokens_per_sequence)
    return ray.data.read_datasource(ShardSource(dataset, split, schema, samples, count))


class ShardSource(Datasource):
    """Some shards a task. `read_shard` gives the tables of one, `count` says how many rows those have."""

    def __init__(
        self,
        dataset: Dataset,
        split: str,
        schema: pa.Schema,
        read_shard: Callable[[Dataset, Shard], Iterator[pa.Table]],
        count: Callable[[Shard], int],
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._dataset, self._schema, self._read, self._count = dataset, schema, read_shard, count
        self._shards = [shard for shard in dataset.shard_table(split) if count(shard)]
        if not self._shards:
            raise SpecError(
                f"no shard of {dataset.reference} ({split}) has a whole sample", hint="ask for fewer tokens"
            )

    def get_name(self) -> str:
        return f"Tradewind({self._dataset.reference})"

    def estimate_inmemory_data_size(self) -> int:
        return sum(shard.num_bytes for shard in self._shards)

    def get_read_tasks(
        self,
        parallelism: int,
        per_task_row_limit: int | None = None,
        data_context: Any = None,  # noqa: ARG002 - Ray's word
    ) -> list[ReadTask]:
        groups = np.array_split(np.arange(len(self._shards)), max(1, min(parallelism, len(self._shards))))
        return [self._task([self._shards[index] for index in group], per_task_row_limit) for group in groups]

    def _task(self, shards: list[Shard], row_limit: int | None) -> ReadTask:
        metadata = BlockMetadata(
            num_rows=sum(map(self._count, shards)),
            size_bytes=sum(shard.num_bytes for shard in shards),
            exec_stats=None,
            input_files=tuple(shard.key for shard in shards),
        )
        read = partial(_blocks, self._dataset, shards, self._read)
        return ReadTask(read, metadata, schema=self._schema, per_task_row_limit=row_limit)


def _blocks(
    dataset: Dataset, shards: list[Shard], read_shard: Callable[[Dataset, Shard], Iterator[pa.Table]]
) -> Iterator[pa.Table]:
    for shard in shards:
        yield from read_shard(dataset, shard)


def _rows(dataset: Dataset, shard: Shard, *, columns: Sequence[str] | None) -> Iterator[pa.Table]:
    with dataset.open_file(shard) as file:
        for batch in read_rows(file.path, columns):
            yield pa.Table.from_batches([batch])


def _samples(dataset: Dataset, shard: Shard, *, length: int) -> Iterator[pa.Table]:
    """Neighbours share a token, which is a target of the one and an input of the other."""
    with dataset.open_file(shard) as file:
        ids = np.fromfile(file.path, dtype=dataset.dtype, count=_num_samples(shard, length=length) * length + 1)
    samples = np.lib.stride_tricks.sliding_window_view(ids, length + 1)[::length]
    yield pa.table({COLUMN: pa.FixedSizeListArray.from_arrays(pa.array(samples.reshape(-1)), length + 1)})


def _num_rows(shard: Shard) -> int:
    return shard.rows


def _num_samples(shard: Shard, *, length: int) -> int:
    return max(0, (shard.tokens - 1) // length)
