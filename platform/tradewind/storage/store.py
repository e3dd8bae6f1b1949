"""The one interface to object storage. Everything above sees keys and bytes, never a cloud."""

from __future__ import annotations

import builtins
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol, runtime_checkable


@dataclass(frozen=True)
class ObjectInfo:
    """`modified_at` has a time zone, is not compared, and is None where the store does not tell it."""

    key: str
    num_bytes: int
    modified_at: datetime | None = field(default=None, compare=False)


@runtime_checkable
class Store(Protocol):
    """Keys are paths with `/`, relative to `url`.

    Each method may raise StorageError, AuthError, CapacityError for a full disk, and SpecError for a URL that cannot be
    used (no such bucket, a forked process) or a key that leads out of it.

    A store can be pickled, and opens its connections when a process first uses it.
    """

    @property
    def url(self) -> str:
        """Where the keys live. Holds no credentials."""

    def get(self, key: str) -> bytes:
        """The whole object. Raises NotFoundError."""

    def stream(self, key: str) -> Iterator[bytes]:
        """The object piece by piece, in constant memory. Nothing is asked before the first piece is taken.

        Raises NotFoundError, and StorageError also when the object is replaced meanwhile.
        """

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """The bytes [start, end) of each range, in few requests. Raises NotFoundError, StorageError past the end."""

    def put(self, key: str, data: bytes | Path) -> None:
        """Write or replace an object, whole or not at all. Large ones are sent in parts, a `Path` in constant memory.

        Raises NotFoundError for a `Path` without a file.
        """

    def create(self, key: str, data: bytes) -> None:
        """Write an object unless one is there already; of racing creators exactly one wins.

        Raises ConflictError, and SpecError for a store without conditional writes. A create whose answer was lost looks
        whether it has won; after a StorageError nobody knows.
        """

    def list(self, prefix: str, *, after: str | None = None) -> Iterator[ObjectInfo]:
        """The objects below a folder-like prefix, in no particular order; with `after` only those with greater keys."""

    def folders(self, prefix: str) -> builtins.list[str]:
        """The names right below a folder-like prefix that have objects below them, sorted."""

    def head(self, key: str) -> ObjectInfo:
        """Size and time of an object. Raises NotFoundError."""

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is no error."""

    def local_path(self, key: str) -> Path | None:
        """The file that holds the object, where the store is a folder of this machine; else None."""
