"""Objects named by what they hold: written once, checked whenever they are read.

`put_content` stores bytes under their SHA-256; `fetch_content` gives a verified local file of them, straight from the
store's own folder where it has one, otherwise through the cache of this machine.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tradewind.errors import IntegrityError, NotFoundError
from tradewind.records import StoredFile
from tradewind.storage.cache import Cache, CachedFile, default_cache
from tradewind.storage.integrity import check_bytes, check_file, hash_file, owned
from tradewind.storage.origin import Origin, StoreOrigin
from tradewind.storage.store import Store

RENEW_AFTER = timedelta(days=1)
"""A file older than this is written again by whoever needs it, so that removing old unused files cannot take it."""


def put_content(store: Store, prefix: str, data: bytes | Path, *, suffix: str = "") -> StoredFile:
    """Store bytes, or a file, under `<prefix>/<sha256[:2]>/<sha256><suffix>`. The same bytes twice are stored once."""
    digest = hash_file(data) if isinstance(data, Path) else hashlib.sha256(data).hexdigest()
    num_bytes = data.stat().st_size if isinstance(data, Path) else len(data)
    file = StoredFile(key=f"{prefix}/{digest[:2]}/{digest}{suffix}", sha256=digest, num_bytes=num_bytes)
    if not _is_stored(store, file):
        store.put(file.key, data)
    return file


def get_content(store: Store, file: StoredFile, *, what: str) -> bytes:
    """The verified bytes of a small file. `what` names it in errors. Raises IntegrityError."""
    with owned(file, what=what):
        data = store.get(file.key)
    check_bytes(data, file, what=what)
    return data


def open_content(source: Store | Origin, file: StoredFile, *, what: str, cache: Cache | None = None) -> CachedFile:
    """The verified bytes as a local file, pinned until it is closed. Raises IntegrityError when they are other ones."""
    origin = StoreOrigin(source) if isinstance(source, Store) else source
    return (cache or default_cache()).open(origin, file, what=what)


def fetch_content(source: Store | Origin, file: StoredFile, *, what: str, cache: Cache | None = None) -> Path:
    """The same as a path, which is there until the cache needs its room."""
    with open_content(source, file, what=what, cache=cache) as found:
        return found.path


def _is_stored(store: Store, file: StoredFile) -> bool:
    try:
        found = store.head(file.key)
        if local := store.local_path(file.key):
            check_file(local, file, what=file.key)
    except (IntegrityError, NotFoundError):
        return False
    is_fresh = found.modified_at is None or datetime.now(UTC) - found.modified_at < RENEW_AFTER
    return is_fresh and found.num_bytes == file.num_bytes
