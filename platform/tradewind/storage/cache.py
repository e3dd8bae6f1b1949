"""Verified copies of files on this machine, shared by all its processes.

A file in the cache is named by its SHA-256 and gets that name after it was verified, so a name means whole bytes.
Everything else is said with locks on the files themselves (`flock`), which the kernel takes back from a process that
dies: whoever downloads holds the unfinished file's, so that one download serves all; whoever reads holds a shared one,
and what is so pinned is not removed. The least recently used of the other files go when the cache gets too large.

It can be used by processes that are killed at any moment, and on a disk that others fill. Its size is a bound on what
nobody reads; files that are being read stay, even where they alone are larger.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import mmap
import os
import shutil
import stat
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache as remember
from pathlib import Path
from typing import Self

from tradewind.errors import CapacityError, SpecError
from tradewind.records import StoredFile
from tradewind.storage.integrity import RECENT_NS, check_file, unwritable
from tradewind.storage.origin import Origin
from tradewind.units import parse_bytes

IsWhole = Callable[[mmap.mmap], bool]

FOLDER, LIMIT = "TRADEWIND_CACHE", "TRADEWIND_CACHE_BYTES"
UNFINISHED = ".part"
POLL_S = 0.02
PROCESSES = 16
"""So many may each add their share of the room that one of them has seen, before it looks again."""
STALLED_S = 30.0
"""A download that grows by nothing for so long is not waited for; another is started beside it."""


@dataclass
class CachedFile:
    """An open file that stays in the cache until it is closed."""

    path: Path
    descriptor: int

    def map(self) -> mmap.mmap:
        """The bytes, memory-mapped. They stay readable after `close`, even if the file leaves the cache."""
        return mmap.mmap(self.descriptor, 0, prot=mmap.PROT_READ)

    def close(self) -> None:
        if self.descriptor >= 0:
            _let_go(self.descriptor)
            self.descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass
class Cache:
    """`max_bytes` bounds the files that nobody reads. One object serves all threads of a process."""

    folder: Path
    max_bytes: int
    _verified: set[tuple[str | int, ...]] = field(default_factory=set, repr=False)
    _slack: int = field(default=0, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __reduce__(self) -> tuple[object, ...]:
        return Cache, (self.folder, self.max_bytes)

    def open(self, origin: Origin, file: StoredFile, *, what: str, is_whole: IsWhole | None = None) -> CachedFile:
        """The verified bytes as a file that is pinned until it is closed, downloaded if this machine has none yet.

        A download is verified by its SHA-256. What is here already was once, and is checked again when this process
        first uses it: by `is_whole`, where the bytes have checksums of their own that are faster.
        Raises IntegrityError when the origin has no such bytes, CapacityError when there is no room for them.
        """
        if local := origin.local_path(file):
            check_file(local, file, what=what)
            return CachedFile(local, os.open(local, os.O_RDONLY))
        while True:
            if found := self.get(file, is_whole=is_whole):
                return found
            self._download(origin, file, what)

    def peek(self, origin: Origin, file: StoredFile, span: tuple[int, int]) -> bytes | None:
        """Some bytes of the file as they lie on this machine, not verified; None when they are not here."""
        path = origin.local_path(file) or self._path(file)
        try:
            with path.open("rb", buffering=0) as stream:
                data = os.pread(stream.fileno(), span[1] - span[0], span[0])
        except OSError:
            return None  # whoever needs the file says why it cannot be read
        return data if len(data) == span[1] - span[0] else None

    def get(self, file: StoredFile, *, is_whole: IsWhole | None = None) -> CachedFile | None:
        """The file if it is here and whole, without a download. A damaged one is removed."""
        path = self._path(file)
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise unwritable(path, exc) from exc
        found = CachedFile(path, descriptor)
        with contextlib.ExitStack() as otherwise:
            otherwise.callback(found.close)
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            if _is_at(descriptor, path) and self._is_whole(found, file, is_whole):
                otherwise.pop_all()
                return found
        return None

    def _path(self, file: StoredFile) -> Path:
        return self.folder / file.sha256[:2] / file.sha256

    def _is_whole(self, found: CachedFile, file: StoredFile, is_whole: IsWhole | None) -> bool:
        """Whether the bytes are right, looked at when this process first sees them; marks the file as used."""
        status = os.fstat(found.descriptor)
        with contextlib.suppress(OSError):  # it is somebody else's, or may only be read
            os.utime(found.descriptor, ns=(time.time_ns(), status.st_mtime_ns))
        seen = _identity(file, status)
        if seen in self._verified:
            return True
        if status.st_size == file.num_bytes and _is_right(found, file, is_whole):
            self._verified.add(seen)
            return True
        try:
            found.path.unlink(missing_ok=True)
        except OSError as exc:
            raise unwritable(found.path, exc) from exc
        return False

    def _download(self, origin: Origin, file: StoredFile, what: str) -> None:
        path = self._path(file)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise unwritable(path.parent, exc) from exc
        with _unfinished(path) as part:
            if part is None:
                return
            self._make_room(file.num_bytes)
            try:
                origin.download(file, part, what=what)
            except CapacityError:
                self._make_room(file.num_bytes, free_bytes=file.num_bytes)
                origin.download(file, part, what=what)
            try:
                now = time.time_ns()
                os.utime(part, ns=(now, now - RECENT_NS))  # any later change of the bytes changes this time
                status = part.stat()
                part.replace(path)
            except OSError as exc:
                raise unwritable(path, exc) from exc
            self._verified.add(_identity(file, status))

    def _make_room(self, incoming: int, *, free_bytes: int = 0) -> None:
        """Remove what was used longest ago until `incoming` more bytes fit, or until so much was freed."""
        with self._lock:
            if not free_bytes and incoming <= self._slack:
                self._slack -= incoming
                return
            files = sorted(_files(self.folder), key=lambda item: item[1].st_atime_ns)
            excess = sum(status.st_size for _, status in files) + incoming - self.max_bytes
            excess = max(excess, free_bytes) if free_bytes else excess
            for path, status in files:
                if excess <= 0:
                    break
                if _remove_unpinned(path):
                    excess -= status.st_size
            self._slack = max(0, -excess) // PROCESSES


def default_cache() -> Cache:
    """The cache of this user on this machine.

    It is in `$TRADEWIND_CACHE`, or `tradewind/objects` in the user's cache folder; `$TRADEWIND_CACHE_BYTES` bounds it,
    half of the disk if unset.
    """
    chosen = os.environ.get(FOLDER)
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return _cache(Path(chosen) if chosen else home / "tradewind" / "objects", os.environ.get(LIMIT))


@remember
def _cache(folder: Path, limit: str | None) -> Cache:
    try:
        max_bytes = parse_bytes(limit) if limit else _disk_bytes(folder) // 2
    except ValueError as exc:
        raise SpecError(f"{LIMIT}={limit}: {exc}") from exc
    return Cache(folder, max_bytes)


def _disk_bytes(folder: Path) -> int:
    existing = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    return shutil.disk_usage(existing).total


@contextmanager
def _unfinished(path: Path) -> Iterator[Path | None]:
    """The unfinished file to download into, or None where somebody else has finished it meanwhile."""
    part = path.with_name(path.name + UNFINISHED)
    descriptor = _lock(part, unless=path)
    if descriptor is None and not path.exists():  # who holds it does not get on
        part = path.with_name(f"{path.name}.{uuid.uuid4().hex}{UNFINISHED}")
        descriptor = _lock(part, unless=path)
    try:
        yield None if descriptor is None or path.exists() else part
    finally:
        if descriptor is not None:
            if _is_at(descriptor, part):
                part.unlink(missing_ok=True)
            _let_go(descriptor)


def _lock(part: Path, *, unless: Path) -> int | None:
    """Lock the unfinished file. None when `unless` comes to be, or when the lock's holder has stalled."""
    grown, since = -1, time.monotonic()
    while not unless.exists():
        try:
            descriptor = os.open(part, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as exc:
            raise unwritable(part, exc) from exc
        if _try_lock(descriptor) and _is_at(descriptor, part):
            return descriptor
        num_bytes = os.fstat(descriptor).st_size
        os.close(descriptor)
        if num_bytes != grown:
            grown, since = num_bytes, time.monotonic()
        elif time.monotonic() - since > STALLED_S:
            return None
        time.sleep(POLL_S)
    return None


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _let_go(descriptor: int) -> None:
    """Unlock and close. Closing alone leaves the lock with a child that was forked meanwhile, and with mappings."""
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


def _hash(descriptor: int) -> str | None:
    """The SHA-256 of an open file, whatever its name leads to by now; None where the disk fails to read it."""
    try:
        with os.fdopen(descriptor, "rb", closefd=False) as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return None


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file still has that name: another process may have removed or replaced it."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _is_right(found: CachedFile, file: StoredFile, is_whole: IsWhole | None) -> bool:
    if is_whole is None:
        return _hash(found.descriptor) == file.sha256
    with found.map() as data:
        return is_whole(data)


def _identity(file: StoredFile, status: os.stat_result) -> tuple[str | int, ...]:
    return (file.sha256, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def _files(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """All files of the cache, unfinished ones too. What vanishes meanwhile is left out."""
    for path in folder.glob("??/*"):
        with contextlib.suppress(OSError):
            status = path.stat()
            if stat.S_ISREG(status.st_mode):
                yield path, status


def _remove_unpinned(path: Path) -> bool:
    """Remove a file that nobody reads or downloads. Returns whether it is gone."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError as exc:
        return isinstance(exc, FileNotFoundError)
    try:
        if not _try_lock(descriptor) or not _is_at(descriptor, path):  # by now the name may be another download's
            return False
        path.unlink(missing_ok=True)
        return True
    except OSError:  # it is somebody else's
        return False
    finally:
        _let_go(descriptor)
