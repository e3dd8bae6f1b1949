"""`file:///path` and plain paths: a folder of this machine, or a network file system mounted there."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from tradewind.errors import SpecError
from tradewind.storage.object_store import ObjectStore


def open_store(url: str) -> ObjectStore:
    folder = _folder(url)
    if folder.is_file():
        raise SpecError(f"{folder} is a file", hint="name a folder; it is made when something is written")
    return ObjectStore(folder.as_uri(), _open_native, folder)


def _folder(url: str) -> Path:
    if not url.startswith("file:"):
        return Path(url).expanduser().absolute()
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
        raise SpecError(
            f"{url!r} is not a file URL of this machine", hint="write file:///absolute/path or a plain path"
        )
    return Path(unquote(parts.path))


def _open_native(url: str, _max_retries: int = 0) -> Any:
    from obstore.store import LocalStore

    return LocalStore(_folder(url), mkdir=True)
