"""A `Store` on obstore (the Rust crate object_store): one class for every scheme that obstore speaks.

obstore is not fork-safe: a child of a process that has used it hangs. So the native store is opened lazily in each
process, and what travels in pickles is the URL alone.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tradewind.errors import AuthError, ConflictError, NotFoundError, StorageError
from tradewind.storage.store import ObjectInfo

if TYPE_CHECKING:
    import obstore.store

LIST_CHUNK = 1000
FULL = ("no space left", "os error 28", "quota exceeded", "os error 122")
REFUSED = ("permission denied", "os error 13", "read-only file system", "os error 30", "accessdenied", "403 forbidden")


@dataclass(frozen=True)
class ObjectStore:
    """Keys below `url`. `open_native` makes obstore's own object; `folder` is set for folders of this machine."""

    url: str
    open_native: Callable[[str], Any]
    folder: Path | None = None
    _opened: dict[int, Any] = field(default_factory=dict, compare=False, repr=False)

    def __reduce__(self) -> tuple[Any, ...]:
        return ObjectStore, (self.url, self.open_native, self.folder)

    def get(self, key: str) -> bytes:
        import obstore

        with self._translated(key):
            return obstore.get(self._native, key).bytes().to_bytes()

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        import obstore

        if not ranges:
            return []
        starts, ends = zip(*ranges, strict=True)
        with self._translated(key):
            parts = [part.to_bytes() for part in obstore.get_ranges(self._native, key, starts=starts, ends=ends)]
        for (start, end), part in zip(ranges, parts, strict=True):
            if len(part) != end - start:
                raise StorageError(f"{self.url}/{key} has no bytes {start} to {end}", hint="the object is too short")
        return parts

    def put(self, key: str, data: bytes | Path) -> None:
        import obstore

        with self._translated(key):
            obstore.put(self._native, key, data)

    def create(self, key: str, data: bytes) -> None:
        import obstore

        with self._translated(key):
            obstore.put(self._native, key, data, mode="create")

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        import obstore

        with self._translated(prefix):
            for chunk in obstore.list(self._native, prefix, chunk_size=LIST_CHUNK):
                for item in chunk:
                    yield ObjectInfo(item["path"], item["size"])

    def head(self, key: str) -> ObjectInfo:
        import obstore

        with self._translated(key):
            return ObjectInfo(key, obstore.head(self._native, key)["size"])

    def delete(self, key: str) -> None:
        import obstore

        try:
            with self._translated(key):
                obstore.delete(self._native, key)
        except NotFoundError:
            return

    def local_path(self, key: str) -> Path | None:
        return self.folder / key if self.folder else None

    @property
    def _native(self) -> obstore.store.ObjectStore:
        pid = os.getpid()
        if pid not in self._opened:
            self._opened.clear()
            self._opened[pid] = self.open_native(self.url)
        return self._opened[pid]

    @contextmanager
    def _translated(self, key: str) -> Iterator[None]:
        import obstore.exceptions as foreign

        place = f"{self.url}/{key}"
        try:
            yield
        except FileNotFoundError as exc:
            raise NotFoundError(f"there is no {place}") from exc
        except (foreign.AlreadyExistsError, foreign.PreconditionError) as exc:
            raise ConflictError(f"{place} exists already", hint="another writer was faster; read it and decide") from exc
        except (foreign.PermissionDeniedError, foreign.UnauthenticatedError) as exc:
            raise AuthError(f"{place} is refused: {_cause(exc)}", hint="check the credentials and their rights") from exc
        except (foreign.BaseError, OSError, ValueError) as exc:
            raise _storage_error(place, exc) from exc


def _storage_error(place: str, exc: Exception) -> StorageError | AuthError:
    text = str(exc).lower()
    if any(word in text for word in FULL):
        return StorageError(f"no room left to write {place}", hint="free some space or choose another workspace")
    if any(word in text for word in REFUSED):
        return AuthError(f"{place} is refused: {_cause(exc)}", hint="check who owns it and your rights")
    return StorageError(f"{place} failed: {_cause(exc)}", hint="check that the store is reachable, then try again")


def _cause(exc: Exception) -> str:
    """The last link of a Rust error chain, without its debug dump, on one line."""
    first = str(exc).split("\n\nDebug source:")[0]
    return re.sub(r"\s+", " ", first).strip()[:300]
