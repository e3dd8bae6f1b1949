"""Grain: its global shuffle over shards that were copied to local disk first, eight at a time.

Grain has no reader of object stores of its own. A source that fetched single sequences would send 51,200 requests,
and under a global shuffle the first batch touches every shard, so the copy of the whole is the faster way. It reads
without threads, which is faster here than any number of them: tokens of local files leave nothing to wait for.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.peers import case, raw
from benchmarks.tokens import BATCH, LENGTH, PER_SHARD, SEQUENCES, Tokens

if TYPE_CHECKING:
    import torch


class Source:
    """Random access to the sequences of the local copy."""

    def __init__(self, folder: Path) -> None:
        self._shards = [np.memmap(folder / Path(key).name, np.uint16, mode="r").reshape(-1, LENGTH) for key in raw.KEYS]

    def __len__(self) -> int:
        return SEQUENCES

    def __getitem__(self, number: int) -> Tokens:
        sequence: Tokens = self._shards[number // PER_SHARD][number % PER_SHARD]
        return sequence


def load() -> None:
    import grain  # noqa: F401
    import obstore  # noqa: F401
    import torch  # noqa: F401


def read(task: case.Task, state: Any) -> case.Reading:
    import grain

    _copy(task.cache)
    order = grain.MapDataset.source(Source(task.cache)).shuffle(seed=0).batch(BATCH)
    dataset = order.to_iter_dataset(grain.ReadOptions(num_threads=0, prefetch_buffer_size=0))
    if task.workers:
        dataset = dataset.mp_prefetch(grain.MultiprocessingOptions(num_workers=task.workers))
    iterator = iter(dataset)
    if state:
        iterator.set_state(state)
    return case.Reading(_batches(iterator), iterator.get_state)


def _copy(folder: Path) -> None:
    import obstore

    folder.mkdir(parents=True, exist_ok=True)
    bucket = case.store()

    def fetch(key: str) -> None:
        file = folder / Path(key).name
        if not file.exists():
            part = file.with_suffix(".part")
            part.write_bytes(obstore.get(bucket, key).bytes())
            part.rename(file)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(fetch, raw.KEYS))


def _batches(iterator: Iterator[Tokens]) -> Iterator[torch.Tensor]:

    for batch in iterator:
        yield case.as_int64(batch)


if __name__ == "__main__":
    case.main(prepare=raw.prepare, load=load, read=read, libraries=("grain",), extras={})
