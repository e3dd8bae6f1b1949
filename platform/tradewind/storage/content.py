"""Objects named by what they hold: written once, checked whenever they are read.

`put_content` stores bytes under their SHA-256; `fetch_content` gives a verified local file of them, straight from the
store's own folder where it has one, otherwise through a cache on this machine that many processes share. A file in
the cache is complete and right, because it was verified before it got its name; nobody needs a lock.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from tradewind.errors import IntegrityError, NotFoundError, StorageError
from tradewind.records import StoredFile
from tradewind.storage.store import Store

_verified: set[tuple[str, int, int]] = set()


def put_content(store: Store, prefix: str, data: bytes, *, suffix: str = "") -> StoredFile:
    """Store bytes under `<prefix>/<sha256[:2]>/<sha256><suffix>`. The same bytes twice are stored once."""
    digest = hashlib.sha256(data).hexdigest()
    key = f"{prefix}/{digest[:2]}/{digest}{suffix}"
    try:
        present = store.head(key).num_bytes == len(data)
    except NotFoundError:
        present = False
    if not present:
        store.put(key, data)
    return StoredFile(key=key, sha256=digest, num_bytes=len(data))


def get_content(store: Store, file: StoredFile, *, what: str) -> bytes:
    """The verified bytes of a small file. `what` names it in errors. Raises IntegrityError."""
    data = _get(store, file, what)
    _check(data, file, what)
    return data


def fetch_content(store: Store, file: StoredFile, *, what: str, cache: Path | None = None) -> Path:
    """A local file that holds the verified bytes. Raises IntegrityError when the stored bytes are not what was recorded."""
    local = store.local_path(file.key)
    if local is not None:
        return _verified_in_place(local, file, what)
    target = (cache or default_cache()) / file.sha256[:2] / file.sha256
    if not target.exists():
        _write_atomically(target, get_content(store, file, what=what))
    return target


def default_cache() -> Path:
    """`$TRADEWIND_CACHE`, or `tradewind/objects` in the user's cache folder."""
    chosen = os.environ.get("TRADEWIND_CACHE")
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(chosen) if chosen else home / "tradewind" / "objects"


def _verified_in_place(path: Path, file: StoredFile, what: str) -> Path:
    try:
        status = path.stat()
    except FileNotFoundError as exc:
        raise _missing(file, what) from exc
    seen = (str(path), status.st_mtime_ns, status.st_size)
    if seen not in _verified:
        _check(path.read_bytes(), file, what)
        _verified.add(seen)
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
        with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as scratch:
            scratch.write(data)
        os.replace(scratch.name, target)
    except OSError as exc:
        raise StorageError(
            f"the cache {target.parent} cannot be written: {exc.strerror}", hint="free some space or set TRADEWIND_CACHE"
        ) from exc
