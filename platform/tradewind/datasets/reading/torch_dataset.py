"""The reader as a PyTorch `IterableDataset`: for `DataLoader`, and for loops that know PyTorch and nothing else.

One process with threads is the fast way: `DataLoader(dataset, batch_size=None)`. Worker processes work too, each makes
every n-th batch and `DataLoader` puts them into the same order; they are slower, because batches travel between
processes, and they must not be forked: `DataLoader(..., num_workers=2, multiprocessing_context="forkserver")`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch.utils.data import IterableDataset, get_worker_info

from tradewind.datasets.reading.batches import Batches
from tradewind.datasets.reading.reader import Reader
from tradewind.storage.cache import Cache


class TorchBatches(IterableDataset[torch.Tensor]):
    """Yields the tokens of one reader's batches, [rows, width], in the unsigned type of the shards.

    `.to(device)` first and `.long()` there moves a quarter of the bytes that int64 has. Rank and number of readers come
    from `torch.distributed` unless they are given. `state_dict` tells where the consumer is, as long as there are no
    worker processes; with those, keep `batches taken × batches.sequences` and give it as `start`.
    """

    def __init__(
        self,
        batches: Batches,
        *,
        rank: int | None = None,
        world: int | None = None,
        start: int = 0,
        epochs: int | None = None,
        cache: Cache | None = None,
    ) -> None:
        is_group = dist.is_available() and dist.is_initialized()
        self._rank = rank if rank is not None else (dist.get_rank() if is_group else 0)
        self._world = world if world is not None else (dist.get_world_size() if is_group else 1)
        self._batches, self._epochs, self._cache = batches, epochs, cache
        self._reader = self._new_reader(start)

    def __iter__(self) -> Iterator[torch.Tensor]:
        reader = self._reader
        if info := get_worker_info():
            reader = self._new_reader(reader.samples, worker=info.id, workers=info.num_workers)
        for batch in reader:
            yield torch.from_numpy(batch.tokens)

    def state_dict(self) -> dict[str, Any]:
        return self._reader.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on behind what the state has seen. Raises SpecError when it is of another order."""
        self._reader.load_state_dict(state)

    def _new_reader(self, start: int, *, worker: int = 0, workers: int = 1) -> Reader:
        return Reader(
            self._batches,
            rank=self._rank,
            world=self._world,
            worker=worker,
            workers=workers,
            start=start,
            epochs=self._epochs,
            cache=self._cache,
        )
