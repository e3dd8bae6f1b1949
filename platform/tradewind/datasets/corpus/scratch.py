"""What a build keeps until its version is there: the finished work of each group, so that it is never done twice.

Everything lies below one prefix, named by a hash of the spec and of its input. A record of finished work is written by
put-if-absent behind what it describes, so one that is there is whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tradewind.errors import ConflictError, NotFoundError
from tradewind.storage import Store
from tradewind.storage.removal import delete_all

READERS = 16
ABANDONED_AFTER = timedelta(days=30)
"""Longer than any build takes; its shards are only kept for the grace period of a collection anyway."""


@dataclass(frozen=True)
class Scratch:
    store: Store
    prefix: str

    def write(self, name: str, data: bytes) -> None:
        self.store.put(f"{self.prefix}/{name}", data)

    def finish(self, name: str, data: bytes) -> None:
        """Record finished work. Of two who did the same, the first is kept; they wrote the same."""
        try:
            self.store.create(f"{self.prefix}/{name}", data)
        except ConflictError:
            return

    def read(self, name: str) -> bytes:
        """Raises ConflictError when another run of the same build has finished and cleared it away."""
        try:
            return self.store.get(f"{self.prefix}/{name}")
        except NotFoundError as exc:
            raise self._cleared() from exc

    def read_ranges(self, name: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        try:
            return self.store.get_ranges(f"{self.prefix}/{name}", ranges)
        except NotFoundError as exc:
            raise self._cleared() from exc

    def finished(self, folder: str) -> dict[str, bytes]:
        """The records in a folder by their names."""
        keys = [item.key for item in self.store.list(f"{self.prefix}/{folder}") if item.key.endswith(".json")]
        names = [key.removeprefix(f"{self.prefix}/") for key in keys]
        with ThreadPoolExecutor(READERS) as pool:
            return dict(zip(names, pool.map(self.read, names), strict=True))

    def has(self, name: str) -> bool:
        try:
            self.store.head(f"{self.prefix}/{name}")
        except NotFoundError:
            return False
        return True

    def clear(self) -> None:
        """Remove everything. What another run of the same build still wants, it will miss."""
        delete_all(self.store, [item.key for item in self.store.list(self.prefix)])

    def clear_abandoned(self) -> None:
        """Remove what builds beside this one have left behind long ago."""
        edge = datetime.now(UTC) - ABANDONED_AFTER
        beside = self.store.list(self.prefix.rpartition("/")[0])
        delete_all(self.store, [item.key for item in beside if item.modified_at and item.modified_at < edge])

    def _cleared(self) -> ConflictError:
        return ConflictError(
            f"{self.store.url}/{self.prefix} was cleared while it was used",
            hint="the same command ran twice and the other one has made the version; look at it, or run this again",
        )
