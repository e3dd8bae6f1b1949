"""Bytes are what was recorded, or an error says how they differ.

A file that a process has verified is not read again by it as long as its time stamps stay. Each process verifies for
itself, because a crash of the machine can leave a name without its bytes.
"""

from __future__ import annotations

import errno
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tradewind.errors import ArchivedError, CapacityError, IntegrityError, NotFoundError, StorageError
from tradewind.records import StoredFile
from tradewind.storage.store import Store

RECENT_NS = 1_000_000_000
"""A file that changed this recently may change again without a new time stamp."""

FULL = (errno.ENOSPC, errno.EDQUOT)

_verified: set[tuple[str | int, ...]] = set()


def check_bytes(data: bytes, file: StoredFile, *, what: str) -> None:
    """Raises IntegrityError when these are not the bytes of the file."""
    _check(len(data), hashlib.sha256(data).hexdigest(), file, what)


def check_file(path: Path, file: StoredFile, *, what: str) -> None:
    """Raises IntegrityError when a file of this machine is missing or holds other bytes, StorageError if unreadable."""
    try:
        status = path.stat()
        seen = (file.sha256, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        if seen not in _verified:
            _check(status.st_size, hash_file(path), file, what)
            if time.time_ns() - status.st_ctime_ns > RECENT_NS:
                _verified.add(seen)
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise missing(file, what=what) from exc
    except OSError as exc:
        raise StorageError(f"{path} cannot be read: {exc.strerror}", hint="check who owns it and your rights") from exc


def hash_file(path: Path) -> str:
    """The SHA-256 of a file, in constant memory."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_verified(store: Store, file: StoredFile, target: Path, *, what: str) -> None:
    """Copy an object into a file of this machine, in constant memory, and check it on the way.

    Raises IntegrityError, CapacityError for a full disk, StorageError. What it wrote before an error stays there.
    """
    digest, length = hashlib.sha256(), 0
    try:
        with owned(file, what=what), target.open("wb", buffering=0) as stream:
            for piece in store.stream(file.key):
                length += len(piece)
                if length > file.num_bytes:
                    raise altered(file, f"has more than {file.num_bytes} bytes", what=what)
                digest.update(piece)
                _write_all(stream.fileno(), piece)
    except OSError as exc:
        raise unwritable(target, exc) from exc
    _check(length, digest.hexdigest(), file, what)


@contextmanager
def owned(file: StoredFile, *, what: str) -> Iterator[None]:
    """Reading one file: an object that is gone is an IntegrityError, and that or an archived one names its owner."""
    try:
        yield
    except NotFoundError as exc:
        raise missing(file, what=what) from exc
    except ArchivedError as exc:
        raise archived(file, what=what) from exc


def missing(file: StoredFile, *, what: str) -> IntegrityError:
    return IntegrityError(f"{what} has lost its file {file.key}", hint="restore it from a copy, or make a new version")


def archived(file: StoredFile, *, what: str) -> ArchivedError:
    """With the command that brings it back, where `what` is a dataset."""
    reference = what.removeprefix("dataset ") if what.startswith("dataset ") else "NAME@VERSION"
    return ArchivedError(
        f"{what} is archived: {file.key}", hint=f"bring it back first: tw datasets restore {reference}"
    )


def altered(file: StoredFile, problem: str, *, what: str) -> IntegrityError:
    return IntegrityError(
        f"{what}: the file {file.key} {problem}", hint="it was cut short or altered; restore it or make a new version"
    )


def unwritable(path: Path, exc: OSError) -> CapacityError | StorageError:
    """What is raised for a file of the cache, or of a download, that cannot be written."""
    if exc.errno in FULL:
        return CapacityError(
            f"no room left to write {path}", hint="free some space, or let TRADEWIND_CACHE name a larger disk"
        )
    return StorageError(
        f"{path} cannot be written: {exc.strerror}", hint="check your rights, or set TRADEWIND_CACHE to another folder"
    )


def _check(num_bytes: int, digest: str, file: StoredFile, what: str) -> None:
    if num_bytes != file.num_bytes:
        raise altered(file, f"has {num_bytes} bytes instead of {file.num_bytes}", what=what)
    if digest != file.sha256:
        raise altered(file, f"has checksum {digest[:12]}… instead of {file.sha256[:12]}…", what=what)


def _write_all(descriptor: int, piece: bytes) -> None:
    view = memoryview(piece)
    while view:
        view = view[os.write(descriptor, view) :]
