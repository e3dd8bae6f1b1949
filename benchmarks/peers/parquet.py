"""Tokens as Parquet: one column of fixed-size lists, zstd, 512 sequences a row group, 4096 a file."""

from __future__ import annotations

from pathlib import Path

from benchmarks.peers.case import Task, upload
from benchmarks.tokens import LENGTH, PER_SHARD, SEQUENCES, shards

PREFIX = "parquet"
FILES = [f"{number:05d}.parquet" for number in range(-(-SEQUENCES // PER_SHARD))]


def prepare(task: Task) -> None:
    upload(task.formats(PREFIX, lambda folder: _write(task, folder)), PREFIX)


def _write(task: Task, folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    for file, shard in zip(FILES, shards(task.tokens()), strict=True):
        column = pa.FixedSizeListArray.from_arrays(pa.array(shard.reshape(-1)), LENGTH)
        pq.write_table(pa.table({"tokens": column}), folder / file, row_group_size=512, compression="zstd")
