"""tradewind: token shards of 16 MiB in a workspace on the server, shuffled in windows of four, verified, cached.

The reader is one process with threads. With workers it runs in the processes of torch's DataLoader, which pass on
uint16, and the batches become int64 where they are used. Two more tasks measure what no peer has: opening a dataset
of 100,000 shards, and the memory that the order of 10^12 samples takes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.peers import case
from benchmarks.tokens import BATCH, LENGTH, shards

if TYPE_CHECKING:
    import torch

    from tradewind import Workspace
    from tradewind.datasets.reading.reader import Reader
    from tradewind.records import DatasetVersion, Shard

NAME, LARGE = "tokens", "large"
LARGE_SHARDS = 100_000
SHARDS_OF_1E12, ROWS_OF_1E12 = 125_000_000, 8_000
STEPS = 1000


def prepare(task: case.Task) -> None:
    from tradewind.datasets.corpus.packing import put_shard
    from tradewind.records import Shard

    with _workspace(task) as workspace:
        _commit(workspace, NAME, [put_shard(workspace.store, NAME, some.reshape(-1)) for some in shards(task.tokens())])
        made_up = [
            Shard(key="", sha256=f"{number:064x}", num_bytes=2**24, tokens=2**23, rows=0)
            for number in range(LARGE_SHARDS)
        ]
        _commit(workspace, LARGE, made_up)


def _commit(workspace: Workspace, name: str, some: list[Shard]) -> None:
    from tradewind.datasets.shards import list_shards
    from tradewind.records import DatasetVersion

    split = list_shards(workspace.store, name, some)

    def make(version: int, writer: str) -> DatasetVersion:
        return DatasetVersion(
            name=name, version=version, writer=writer, dtype="uint16", splits={"train": split}, spec={}
        )

    workspace.datasets.commit(name, make, new=())


def load() -> None:
    import pyarrow.ipc  # noqa: F401
    import torch  # noqa: F401

    import tradewind.datasets.reading.reader
    import tradewind.workspace  # noqa: F401


def read(task: case.Task, state: Any) -> case.Reading:
    if task.workers:
        return case.Reading(_batches_of_workers(task))
    reader = _reader(task)
    if state:
        reader.load_state_dict(state)
    return case.Reading(_batches(reader), reader.state_dict)


def _reader(task: case.Task, *, worker: int = 0, workers: int = 1) -> Reader:
    from tradewind.datasets import Batches
    from tradewind.datasets.reading.reader import Reader
    from tradewind.datasets.reading.samples import Samples

    samples = Samples(_workspace(task).datasets.get(NAME), "train", width=LENGTH, overlap=0)
    return Reader(Batches(samples, sequences=BATCH, seed=0), worker=worker, workers=workers, epochs=1)


def _workspace(task: case.Task) -> Workspace:
    os.environ["TRADEWIND_CACHE"] = str(task.cache)
    from tradewind import Workspace

    return Workspace(f"s3://{case.BUCKET}/workspace")


def _batches(reader: Reader) -> Iterator[torch.Tensor]:

    for batch in reader:
        yield case.as_int64(batch.tokens)


def _batches_of_workers(task: case.Task) -> Iterator[torch.Tensor]:
    import torch
    from torch.utils.data import DataLoader, IterableDataset, get_worker_info

    class Part(IterableDataset[torch.Tensor]):
        def __iter__(self) -> Iterator[torch.Tensor]:
            worker: Any = get_worker_info()
            for batch in _reader(task, worker=worker.id, workers=worker.num_workers):
                yield torch.from_numpy(batch.tokens)

    for batch in DataLoader(Part(), batch_size=None, num_workers=task.workers):
        yield batch.to(torch.int64)


def open_manifest(task: case.Task) -> dict[str, float]:
    """Open a dataset of 100,000 shards in an open workspace, nothing cached, until its samples can be asked for."""
    from tradewind.datasets.reading.samples import Samples

    workspace = _workspace(task)
    began = time.perf_counter()
    samples = Samples(workspace.datasets.get(LARGE), "train", width=LENGTH, overlap=0)
    return {"seconds": time.perf_counter() - began, "shards": len(samples.table)}


def positions(task: case.Task) -> dict[str, float]:
    """What 32 samples are at 1000 places all over an epoch of 10^12 samples, and what memory that took."""
    from tradewind.datasets.reading.order import Order, Segments

    order = Order(Segments.uniform(SHARDS_OF_1E12, ROWS_OF_1E12), seed=0)
    starts = np.random.default_rng(0).integers(0, order.size - BATCH, STEPS)
    before, began = case.peak_memory_bytes(), time.perf_counter()
    for start in starts.tolist():
        order.draw(np.arange(start, start + BATCH))
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "samples": order.size, "memory_growth_bytes": case.peak_memory_bytes() - before}


if __name__ == "__main__":
    case.main(
        prepare=prepare,
        load=load,
        read=read,
        libraries=("tradewind", "torch"),
        extras={"open_manifest": open_manifest, "positions": positions},
    )
