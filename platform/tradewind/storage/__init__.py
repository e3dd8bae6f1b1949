"""One door to object storage: `open_store(url)` gives a `Store` for a folder, a cloud, or whatever fsspec knows."""

from __future__ import annotations

import re

from tradewind.errors import SpecError, did_you_mean
from tradewind.plugins import Table
from tradewind.storage import fsspec_store
from tradewind.storage.content import fetch_content, get_content, open_content, put_content
from tradewind.storage.log import RecordLog
from tradewind.storage.store import ObjectInfo, Store

STORES = Table(
    "store",
    {
        "abfs": "tradewind.storage.az:open_store",
        "abfss": "tradewind.storage.az:open_store",
        "az": "tradewind.storage.az:open_store",
        "file": "tradewind.storage.file:open_store",
        "gs": "tradewind.storage.gs:open_store",
        "memory": "tradewind.storage.memory:open_store",
        "s3": "tradewind.storage.s3:open_store",
    },
)


def open_store(url: str) -> Store:
    """The store at a URL or path. Opens no connection yet. Raises SpecError for a URL that no store can be made of."""
    match = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):/", url)
    scheme = match[1].lower() if match else "file"
    url = scheme + url[len(scheme) :] if match else url
    if scheme in STORES:
        store: Store = STORES[scheme](url)
        return store
    if fsspec_store.is_known(scheme):
        return fsspec_store.open_store(url)
    raise SpecError(f"no store for {scheme}:// URLs{did_you_mean(scheme, STORES)}")


__all__ = [
    "STORES",
    "ObjectInfo",
    "RecordLog",
    "Store",
    "fetch_content",
    "get_content",
    "open_content",
    "open_store",
    "put_content",
]
