"""Files of a checkpoint on their way to the store, several at a time, each with its SHA-256."""

from __future__ import annotations

import hashlib
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import cast

from tradewind.errors import StorageError, TradewindError
from tradewind.records import StoredFile
from tradewind.storage import Store
from tradewind.storage.object_store import ObjectStore
from tradewind.training.checkpoint.contents import METADATA
from tradewind.training.checkpoint.image import Image
from tradewind.training.checkpoint.plan import Plan, PlannedFile

AT_ONCE = 2
"""Files of a rank on their way while it trains."""
AT_ONCE_IN_HASTE = 8
"""The same while it waits. Both are choices; a connection to a cloud carries some 100 MB/s."""


NICE = 10
"""Of threads that write beside those that train."""


class TooLateError(StorageError):
    """Time was up before everything was written."""


def write_files(
    store: Store, prefix: str, plan: Plan, image: Image, *, until: float, at_once: int = AT_ONCE
) -> tuple[StoredFile, ...]:
    """Write this rank's files and wait until they are durable. `until` is a time of the monotonic clock.

    Raises TooLateError when a file would begin after it, and what the store raises.
    """

    def write(file: PlannedFile) -> StoredFile:
        if time.monotonic() >= until:
            raise TooLateError(f"there was no time left to write {prefix}/{file.name}")
        return put(store, f"{prefix}/{file.name}", image.seal(file))

    aside = _step_aside if at_once < AT_ONCE_IN_HASTE else None
    with ThreadPoolExecutor(at_once, thread_name_prefix="tradewind-checkpoint", initializer=aside) as pool:
        return tuple(_first_error_ends(pool, [pool.submit(write, file) for file in plan.files]))


def _step_aside() -> None:
    """Let threads that train go first. Linux has priorities of threads; elsewhere the call would mean the process."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)


def _first_error_ends(pool: ThreadPoolExecutor, files: Sequence[object]) -> Iterator[StoredFile]:
    try:
        for file in files:
            yield file.result()  # type: ignore[attr-defined]
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def write_metadata(store: Store, prefix: str, metadata: bytes) -> StoredFile:
    return put(store, f"{prefix}/{METADATA}", metadata)


def put(store: Store, key: str, data: bytes | memoryview) -> StoredFile:
    """Write an object so that it outlives a loss of power, as far as the store tells."""
    digest = hashlib.sha256(data).hexdigest()
    taken = data if isinstance(data, bytes) or isinstance(store, ObjectStore) else bytes(data)
    store.put(key, cast("bytes", taken))  # obstore takes any buffer, without a copy
    settle(store, key)
    return StoredFile(key=key, sha256=digest, num_bytes=len(data))


def settle(store: Store, key: str) -> None:
    """Wait until an object of a folder is on the disk, and its name too; other stores answer no sooner."""
    if path := store.local_path(key):
        try:
            _sync(path)
            _sync(path.parent)
        except OSError as exc:
            raise StorageError(
                f"{path} cannot be written to its disk: {exc.strerror}", hint="look at the disk"
            ) from exc


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def drop_files(store: Store, prefix: str, plan: Plan) -> None:
    """Remove what this rank may have written of a checkpoint that failed. What cannot be removed now is an orphan."""
    for file in plan.files:
        with suppress(TradewindError):
            store.delete(f"{prefix}/{file.name}")
    if plan.metadata is not None:
        with suppress(TradewindError):
            store.delete(f"{prefix}/{METADATA}")
