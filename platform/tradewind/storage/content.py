"""Objects named by what they hold: written once, checked whenever they are read.

`put_content` stores bytes under their SHA-256; `fetch_content` gives a verified local file of them, straight from the
store's own folder where it has one, otherwise through a cache on this machine that many processes share. A file gets
its name in the cache after it was verified, so nobody needs a lock. Each process verifies a file again when it first
uses it, because a crash of the machine can leave a name without its bytes.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from pathlib import Path

from tradewind.errors import IntegrityError, NotFoundError, StorageError
from tradewind.records import StoredFile
from tradewind.storage.store import Store

RECENT_NS = 1_000_000_000
"""A file that changed this recently may change again without a new time stamp."""

_verified: set[tuple[str | int, ...]] = set()


def put_content(store: Store, prefix: str, data: bytes, *, suffix: str = "") -> StoredFile:
    """Store bytes under `<prefix>/<sha256[:2]>/<sha256><suffix>`. The same bytes twice are stored once."""
    digest = hashlib.sha256(data).hexdigest()
    key = f"{prefix}/{digest[:2]}/{digest}{suffix}"
    file = StoredFile(key=key, sha256=digest, num_bytes=len(data))
    if not _is_stored(store, file):
        store.put(key, data)
    return file


def get_content(store: Store, file: StoredFile, *, what: str) -> bytes:
    """The verified bytes of a small file. `what` names it in errors. Raises IntegrityError."""
    data = _get(store, file, what)
    _check(data, file, what)
    return data


def fetch_content(store: Store, file: StoredFile, *, what: str, cache: Path | None = None) -> Path:
    """A local file that holds the verified bytes. Raises IntegrityError when the stored ones are not those recorded."""
    local = store.local_path(file.key)
    if local is not None:
        return _verified_in_place(local, file, what)
    target = (cache or default_cache()) / file.sha256[:2] / file.sha256
    try:
        return _verified_in_place(target, file, what)
    except IntegrityError:
        _write_atomically(target, get_content(store, file, what=what))
    return target


def default_cache() -> Path:
    """`$TRADEWIND_CACHE`, or `tradewind/objects` in the user's cache folder."""
    chosen = os.environ.get("TRADEWIND_CACHE")
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(chosen) if chosen else home / "tradewind" / "objects"


def _is_stored(store: Store, file: StoredFile) -> bool:
    local = store.local_path(file.key)
    try:
        if local is not None:
            return bool(_verified_in_place(local, file, file.key))
        return store.head(file.key).num_bytes == file.num_bytes
    except (IntegrityError, NotFoundError):
        return False


def _verified_in_place(path: Path, file: StoredFile, what: str) -> Path:
    try:
        status = path.stat()
        seen = (file.sha256, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        if seen not in _verified:
            _check(path.read_bytes(), file, what)
            if time.time_ns() - status.st_ctime_ns > RECENT_NS:
                _verified.add(seen)
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise _missing(file, what) from exc
    except OSError as exc:
        raise StorageError(f"{path} cannot be read: {exc.strerror}", hint="check who owns it and your rights") from exc
    return path


def _get(store: Store, file: StoredFile, what: str) -> bytes:
    try:
        return store.get(file.key)
    except NotFoundError as exc:
        raise _missing(file, what) from exc


def _missing(file: StoredFile, what: str) -> IntegrityError:
    return IntegrityError(f"{what} has lost its file {file.key}", hint="restore it from a copy, or make a new version")


def _check(data: bytes, file: StoredFile, what: str) -> None:
    digest = hashlib.sha256(data).hexdigest()
    if len(data) != file.num_bytes:
        problem = f"has {len(data)} bytes instead of {file.num_bytes}"
    elif digest != file.sha256:
        problem = f"has checksum {digest[:12]}… instead of {file.sha256[:12]}…"
    else:
        return
    raise IntegrityError(
        f"{what}: the file {file.key} {problem}", hint="it was cut short or altered; restore it or make a new version"
    )


def _write_atomically(target: Path, data: bytes) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            whole = Path(scratch) / target.name
            whole.write_bytes(data)
            whole.replace(target)
    except OSError as exc:
        raise StorageError(
            f"the cache {target.parent} cannot be written: {exc.strerror}",
            hint="free some space or set TRADEWIND_CACHE",
        ) from exc
