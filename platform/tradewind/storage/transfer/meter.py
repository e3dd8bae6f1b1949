"""A meter of the bytes that move between stores and this machine, by what they cross.

It counts in each process for itself, and a copy of it in a pickle starts from nothing. `take` gives what was counted
since the last time as a batch with a name; until `done` is called with it, `take` gives the same batch again, so that
who writes batches down under their names writes each once, however often it takes.
"""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from tradewind.records import Boundary, now
from tradewind.storage.store import Store
from tradewind.storage.transfer.tariffs import Tariff

COALESCED_BYTES = 2**20
"""Ranges that are no farther apart are asked for as one, with the bytes between them: what obstore does."""


@dataclass(frozen=True)
class Moved:
    """Bytes between one store and this machine, at the price of that moment."""

    store: str
    boundary: Boundary
    num_bytes: int
    nusd: int
    as_of: str = ""
    """The day of the price, as its source gives it."""


@dataclass(frozen=True)
class Batch:
    name: str
    at: datetime
    moved: tuple[Moved, ...]


class TransferMeter:
    """May be used by many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, Tariff]] = Counter()
        self._all: Counter[tuple[str, Tariff]] = Counter()
        self._pending: Batch | None = None

    def __reduce__(self) -> tuple[object, ...]:
        return TransferMeter, ()

    def count(self, store: str, tariff: Tariff, num_bytes: int) -> None:
        """Add bytes that came from, or went to, the store at a URL."""
        if num_bytes:
            with self._lock:
                self._counts[store, tariff] += num_bytes
                self._all[store, tariff] += num_bytes

    def total(self) -> tuple[Moved, ...]:
        """Everything counted in this process."""
        with self._lock:
            return _moved(self._all)

    def take(self) -> Batch | None:
        """What is to be written down, or None when nothing has moved."""
        with self._lock:
            if self._pending is None and self._counts:
                self._pending = Batch(uuid.uuid4().hex, now(), _moved(self._counts))
                self._counts = Counter()
            return self._pending

    def done(self, batch: Batch) -> None:
        """The batch is written down."""
        with self._lock:
            if self._pending == batch:
                self._pending = None


def _moved(counts: Counter[tuple[str, Tariff]]) -> tuple[Moved, ...]:
    return tuple(
        Moved(store, tariff.boundary, num_bytes, tariff.nusd(num_bytes), tariff.as_of)
        for (store, tariff), num_bytes in sorted(counts.items(), key=lambda item: (item[0][0], item[0][1].boundary))
    )


def watched(store: Store, on_bytes: Callable[[int], None]) -> Store:
    """The store, for streams alone, that tells `on_bytes` each piece's length. What that raises ends the stream."""
    return cast(Store, _WatchedStore(store, on_bytes))


@dataclass(frozen=True)
class _WatchedStore:
    store: Store
    on_bytes: Callable[[int], None]

    def stream(self, key: str) -> Iterator[bytes]:
        for piece in self.store.stream(key):
            self.on_bytes(len(piece))
            yield piece


def spanned(ranges: Sequence[tuple[int, int]]) -> int:
    """How many bytes travel for these ranges of one object."""
    total, reached = 0, -COALESCED_BYTES - 1
    for start, end in sorted(ranges):
        total += max(0, end - (start if start - reached > COALESCED_BYTES else reached))
        reached = max(reached, end)
    return total
