"""Small objects of a store are fetched some at a time, ahead of who reads them: one by one, each would cost a wait."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import IO

from tradewind.datasets.corpus.sources import READ_BYTES, Part

AHEAD = 16
"""At most as many objects, of at most `READ_BYTES` each, are in memory."""


def open_ahead(parts: Sequence[Part]) -> Iterator[tuple[Part, IO[bytes] | None]]:
    """The parts in their order, small objects with their bytes. What is large or on this machine is left to open."""
    waiting: deque[tuple[Part, Future[IO[bytes]] | None]] = deque()
    pool = ThreadPoolExecutor(AHEAD, thread_name_prefix="tradewind-prefetch")
    try:
        for part in parts:
            is_small = part.source.store is not None and part.source.num_bytes <= READ_BYTES
            waiting.append((part, pool.submit(_fetch, part) if is_small else None))
            if len(waiting) >= AHEAD:
                yield _first(waiting)
        while waiting:
            yield _first(waiting)
    finally:
        pool.shutdown(cancel_futures=True)


def _first(waiting: deque[tuple[Part, Future[IO[bytes]] | None]]) -> tuple[Part, IO[bytes] | None]:
    part, fetched = waiting.popleft()
    return part, fetched.result() if fetched else None


def _fetch(part: Part) -> IO[bytes]:
    with part.source.open() as file:
        return io.BytesIO(file.read())
