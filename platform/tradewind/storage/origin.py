"""Where the bytes of a file come from that is known by its checksum: one store, or one of several copies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tradewind.records import StoredFile
from tradewind.storage.integrity import altered, owned, write_verified
from tradewind.storage.store import Store
from tradewind.storage.transfer.meter import TransferMeter, spanned, watched
from tradewind.storage.transfer.place import place_of, this_place
from tradewind.storage.transfer.tariffs import tariff

Check = Callable[[list[bytes]], bool]


class Origin(Protocol):
    """Whatever it gives was verified. All of it may be called from several threads, and it can be pickled."""

    @property
    def meter(self) -> TransferMeter:
        """Counts what was read in this process."""

    def local_path(self, file: StoredFile) -> Path | None:
        """The file itself, unverified, where it is in a folder of this machine."""

    def download(self, file: StoredFile, target: Path, *, what: str) -> None:
        """Write the bytes to a file in constant memory. `what` names the file's owner in errors.

        Raises IntegrityError when there are no such bytes, CapacityError for a full disk, StorageError.
        """

    def get_ranges(
        self, file: StoredFile, ranges: Sequence[tuple[int, int]], *, check: Check, what: str
    ) -> list[bytes]:
        """Some parts of the file for which `check` holds. Raises IntegrityError when it holds nowhere."""


@dataclass(frozen=True)
class StoreOrigin:
    """One store."""

    store: Store
    meter: TransferMeter = field(default_factory=TransferMeter, compare=False, repr=False)

    def local_path(self, file: StoredFile) -> Path | None:
        return self.store.local_path(file.key)

    def download(self, file: StoredFile, target: Path, *, what: str) -> None:
        write_verified(watched(self.store, self._count), file, target, what=what)

    def get_ranges(
        self, file: StoredFile, ranges: Sequence[tuple[int, int]], *, check: Check, what: str
    ) -> list[bytes]:
        with owned(file, what=what):
            parts = self.store.get_ranges(file.key, ranges)
        self._count(spanned(ranges))
        if not check(parts):
            raise altered(file, "has bytes that do not match their checksums", what=what)
        return parts

    def _count(self, num_bytes: int) -> None:
        self.meter.count(self.store.url, tariff(place_of(self.store), this_place()), num_bytes)
