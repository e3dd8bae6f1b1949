"""`memory://name`: objects that live as long as this process, for tests and trials."""

from __future__ import annotations

import os
from typing import Any

from tradewind.errors import SpecError
from tradewind.storage.object_store import ObjectStore

_stores: dict[str, Any] = {}


def open_store(url: str) -> ObjectStore:
    return ObjectStore(f"{url.rstrip('/')}#{os.getpid()}" if "#" not in url else url, _open_native)


def _open_native(url: str, _max_retries: int = 0) -> Any:
    from obstore.store import MemoryStore

    if url.rpartition("#")[2] != str(os.getpid()):
        raise SpecError(f"{url} lives in another process", hint="use a folder or an object store for several processes")
    return _stores.setdefault(url, MemoryStore())
