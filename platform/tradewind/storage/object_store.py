"""A `Store` on obstore (the Rust crate object_store): one class for every scheme that obstore speaks.

obstore is not fork-safe: in a child of a process that has used it, any call hangs, and even closing its connections
there takes them from the parent. So a forked child is refused at once, the native store is opened lazily in each
process, and what travels in pickles is the URL alone.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tradewind.errors import AuthError, CapacityError, ConflictError, NotFoundError, SpecError, StorageError
from tradewind.storage.store import ObjectInfo

if TYPE_CHECKING:
    import obstore.store

LIST_CHUNK = 1000
FULL = ("no space left", "os error 28)", "quota exceeded", "os error 122)")
REFUSED = (
    "permission denied",
    "os error 13)",
    "read-only file system",
    "os error 30)",
    "accessdenied",
    "403 forbidden",
)
OUTSIDE = ("invalid range", "range was invalid", "invalidrange", "range start")
BELOW_AN_OBJECT = "not a directory (os error 20)"

_first_user: int | None = None
"""The process that started obstore's threads; a fork does not take them along."""


@dataclass(frozen=True)
class ObjectStore:
    """Keys below `url`. `open_native` makes obstore's own object; `folder` is set for folders of this machine."""

    url: str
    open_native: Callable[[str], Any]
    folder: Path | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return ObjectStore, (self.url, self.open_native, self.folder)

    def get(self, key: str) -> bytes:
        import obstore

        with self._translated(key):
            return obstore.get(self._present, key).bytes().to_bytes()

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        import obstore

        if not ranges:
            return []
        starts, ends = zip(*ranges, strict=True)
        with self._translated(key):
            parts = [part.to_bytes() for part in obstore.get_ranges(self._present, key, starts=starts, ends=ends)]
        for (start, end), part in zip(ranges, parts, strict=True):
            if len(part) != end - start:
                raise StorageError(f"{self.url}/{key} has no bytes {start} to {end}", hint="the object is too short")
        return parts

    def put(self, key: str, data: bytes | Path) -> None:
        import obstore

        if isinstance(data, Path) and not data.is_file():
            raise NotFoundError(f"there is no file {data} to store as {self.url}/{key}")
        with self._translated(key):
            obstore.put(self._native, key, data)

    def create(self, key: str, data: bytes) -> None:
        import obstore

        with self._translated(key):
            obstore.put(self._native, key, data, mode="create")

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        import obstore

        if self._is_absent:
            return
        with self._translated(prefix):
            for chunk in obstore.list(self._native, prefix, chunk_size=LIST_CHUNK):
                for item in chunk:
                    yield ObjectInfo(item["path"], item["size"])

    def head(self, key: str) -> ObjectInfo:
        import obstore

        with self._translated(key):
            return ObjectInfo(key, obstore.head(self._present, key)["size"])

    def delete(self, key: str) -> None:
        import obstore

        try:
            with self._translated(key):
                obstore.delete(self._present, key)
        except NotFoundError:
            return

    def local_path(self, key: str) -> Path | None:
        _check_key(key)
        return self.folder / key if self.folder else None

    @property
    def _is_absent(self) -> bool:
        return self.folder is not None and not self.folder.exists()

    @property
    def _present(self) -> obstore.store.ObjectStore:
        """What is read from: reading makes no folder where there is none, so a mistyped path leaves nothing behind."""
        if self._is_absent:
            raise FileNotFoundError(self.folder)
        return self._native

    @property
    def _native(self) -> obstore.store.ObjectStore:
        global _first_user
        _first_user = _first_user or os.getpid()
        if _first_user != os.getpid():
            raise SpecError(
                f"{self.url} cannot be used in a forked process", hint="start processes with 'spawn' or 'forkserver'"
            )
        return self._opened

    @cached_property
    def _opened(self) -> obstore.store.ObjectStore:
        native: obstore.store.ObjectStore = self.open_native(self.url)
        return native

    @contextmanager
    def _translated(self, key: str) -> Iterator[None]:
        import obstore.exceptions as foreign

        _check_key(key)
        place = f"{self.url}/{key}"
        try:
            yield
        except FileNotFoundError as exc:
            if _names_missing_bucket(exc):
                raise _no_bucket(self.url) from exc
            raise NotFoundError(f"there is no {place}") from exc
        except (foreign.AlreadyExistsError, foreign.PreconditionError) as exc:
            raise ConflictError(
                f"{place} exists already", hint="another writer was faster; read it and decide"
            ) from exc
        except (foreign.PermissionDeniedError, foreign.UnauthenticatedError) as exc:
            raise AuthError(
                f"{place} is refused: {_cause(exc)}", hint="check the credentials and their rights"
            ) from exc
        except (foreign.BaseError, OSError, ValueError, OverflowError) as exc:
            if _names_missing_bucket(exc):
                raise _no_bucket(self.url) from exc
            raise _storage_error(place, exc) from exc
        except BaseException as exc:
            # A panic in Rust is no Exception: obstore has one for a range that starts past the end.
            if type(exc).__name__ != "PanicException":
                raise
            raise _storage_error(place, exc) from exc


def _check_key(key: str) -> None:
    if key.startswith("/") or not {".", ".."}.isdisjoint(key.split("/")):
        raise SpecError(f"{key!r} is not a key", hint="a key starts with no '/' and has no '.' or '..' as a folder")


def _names_missing_bucket(exc: Exception) -> bool:
    return "<code>nosuchbucket</code>" in str(exc).lower()


def _no_bucket(url: str) -> SpecError:
    """Not a NotFoundError, which would read as: the bucket is there and holds nothing yet."""
    return SpecError(f"there is no bucket for {url}", hint="create it, or correct the URL")


def _storage_error(place: str, exc: BaseException) -> StorageError | AuthError | NotFoundError | CapacityError:
    text = str(exc).lower()
    if BELOW_AN_OBJECT in text:
        return NotFoundError(f"there is no {place}: a part of its path is an object, not a folder")
    if any(word in text for word in OUTSIDE):
        return StorageError(f"{place} has no such range of bytes", hint="the object is too short")
    if any(word in text for word in FULL):
        return CapacityError(f"no room left to write {place}", hint="free some space or choose another workspace")
    if any(word in text for word in REFUSED):
        return AuthError(f"{place} is refused: {_cause(exc)}", hint="check who owns it and your rights")
    return StorageError(f"{place} failed: {_cause(exc)}", hint="check that the store is reachable, then try again")


def _cause(exc: BaseException) -> str:
    """A Rust error chain on one line, without its debug dump, and of a server's answer only what is said to people.

    The rest of the answer may hold the key id or the session token that it refuses.
    """
    text = str(exc).split("\n\nDebug source:")[0]
    chain, _, answer = text.partition(": <")
    said = [found[1] for name in ("Code", "Message") if (found := re.search(rf"<{name}>([^<]*)</{name}>", answer))]
    return re.sub(r"\s+", " ", ": ".join([chain, *said])).strip()[:300]
