"""The shards that a reader has at hand: downloaded ahead by threads, pinned in the cache, memory-mapped.

While a shard is on its way, single samples of it can be read as ranges of blocks, each checked by its own checksum.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from tradewind.datasets import blocks
from tradewind.datasets.blocks import Tokens
from tradewind.datasets.reading.order import Indices
from tradewind.datasets.reading.samples import Samples
from tradewind.errors import IntegrityError, StorageError
from tradewind.records import Shard
from tradewind.storage.cache import Cache, CachedFile
from tradewind.storage.origin import Check

RANGES_AT_ONCE = 16
"""Small requests wait for the server rather than for the processor."""

Place = tuple[int, int]
"""A source and the number of one of its shards."""


@dataclass
class _Open:
    file: CachedFile
    samples: Tokens


class Shards:
    """Shards of some sources. One thread asks; `threads` others download whole shards, in the order of their need."""

    def __init__(self, sources: Sequence[Samples], cache: Cache, *, threads: int) -> None:
        self._sources, self._cache = sources, cache
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="tradewind-shards")
        self._ranges = ThreadPoolExecutor(RANGES_AT_ONCE, thread_name_prefix="tradewind-ranges")
        self._wanted: dict[Place, Future[_Open]] = {}

    def want(self, places: Iterable[Place]) -> None:
        """Have these shards, and no others, brought here in this order."""
        wanted = dict.fromkeys(places)
        for place in [place for place in self._wanted if place not in wanted]:
            _release(self._wanted.pop(place))
        for place in wanted:
            if place not in self._wanted:
                self._wanted[place] = self._pool.submit(self._bring, place)

    def samples(self, place: Place) -> Tokens:
        """The samples of a shard, [rows, width]. Waits for its download, and raises what that raised.

        A download ahead that has failed before anybody needed it is tried again: what was wrong may have passed.
        """
        if place not in self._wanted or _has_failed(self._wanted[place]):
            self._wanted[place] = self._pool.submit(self._bring, place)
        return self._wanted[place].result().samples

    def parts(self, places: Sequence[Place], rows: Sequence[Indices]) -> list[Tokens] | None:
        """Some rows of each of some shards, read as ranges, all at once: no shard needs to be here, or be verified.

        None where a shard has no checksums of its blocks, or a range fails; the whole shard tells what is wrong.
        """
        if not all(blocks.has_checksums(self._shard(place), self._sources[place[0]].dtype) for place in places):
            return None
        asked = [(place, row) for place, of_shard in zip(places, rows, strict=True) for row in of_shard.tolist()]
        if not asked:
            return []
        each = map if all(self._is_here(place) for place in places) else self._ranges.map
        try:
            checksums = dict(zip(places, each(self._checksums, places), strict=True))
            read = each(lambda place, row: self._row(place, row, checksums[place]), *zip(*asked, strict=True))
            return [np.stack([next(read) for _ in of_shard]) for of_shard in rows]
        except (IntegrityError, StorageError):
            return None

    def stop(self) -> None:
        """Begin no more downloads. Those that wait to begin are cancelled, and whoever waits for them is told."""
        for pool in (self._ranges, self._pool):
            pool.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:
        """Wait for the downloads that run, and let go of everything."""
        for pool in (self._ranges, self._pool):
            pool.shutdown(wait=True, cancel_futures=True)
        for future in self._wanted.values():
            _release(future)
        self._wanted.clear()

    def _shard(self, place: Place) -> Shard:
        return self._sources[place[0]].table[place[1]]

    def _is_here(self, place: Place) -> bool:
        return self._cache.peek(self._sources[place[0]].dataset.origin, self._shard(place), (0, 1)) is not None

    def _bring(self, place: Place) -> _Open:
        source, number = place
        file = self._sources[source].open(number, self._cache)
        with contextlib.ExitStack() as otherwise:
            otherwise.callback(file.close)
            samples = self._sources[source].map(number, file)
            otherwise.pop_all()
        return _Open(file, samples)

    def _checksums(self, place: Place) -> list[int]:
        """The checksums of all blocks of a shard. Not checked: a wrong one fails the block that it is for."""
        shard = self._shard(place)
        length = blocks.token_bytes(shard, self._sources[place[0]].dtype)
        data = self._range(place, (length, shard.num_bytes), check=lambda _: True)
        checksums: list[int] = np.frombuffer(data, dtype="<u4").tolist()
        return checksums

    def _row(self, place: Place, row: int, checksums: list[int]) -> Tokens:
        """One sample of a shard, from the blocks that it lies in."""
        samples = self._sources[place[0]]
        itemsize = samples.dtype.itemsize
        start = row * samples.stride * itemsize
        end = start + samples.width * itemsize
        needed = range(start // blocks.BLOCK_BYTES, -(-end // blocks.BLOCK_BYTES))
        data = self._range(
            place,
            blocks.span(needed, blocks.token_bytes(self._shard(place), samples.dtype)),
            check=lambda parts: blocks.checksums(parts[0]) == checksums[needed.start : needed.stop],
        )
        first = needed.start * blocks.BLOCK_BYTES
        return np.frombuffer(data[start - first : end - first], dtype=samples.dtype)

    def _range(self, place: Place, span: tuple[int, int], *, check: Check) -> bytes:
        """Some bytes of a shard, from this machine's copy where it is whole so far, otherwise from where it comes."""
        dataset, shard = self._sources[place[0]].dataset, self._shard(place)
        if (found := self._cache.peek(dataset.origin, shard, span)) and check([found]):
            return found
        (data,) = dataset.origin.get_ranges(shard, [span], check=check, what=f"dataset {dataset.reference}")
        return data


def _has_failed(future: Future[_Open]) -> bool:
    return future.done() and (future.cancelled() or future.exception() is not None)


def _release(future: Future[_Open]) -> None:
    """Let go of a shard, now or when its download has ended."""
    if not future.cancel():
        future.add_done_callback(
            lambda done: None if done.cancelled() or done.exception() else done.result().file.close()
        )
