"""A `Store` on obstore (the Rust crate object_store): one class for every scheme that obstore speaks.

The native store is opened lazily in each process, and what travels in pickles is the URL alone.

Requests are repeated here (`patience.py`) and not by obstore, so that every verb follows one rule and `create` knows
what happened to each of its tries. Only the parts of a large upload are repeated by obstore, because it keeps them.
"""

from __future__ import annotations

import builtins
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tradewind.errors import NotFoundError, StorageError
from tradewind.storage.fork import refuse_forked_child
from tradewind.storage.keys import check_key
from tradewind.storage.patience import STALLED_S, TRY_FOR_S, Patience, with_patience
from tradewind.storage.single_writer import is_single_writer, needs_one_writer
from tradewind.storage.store import ObjectInfo
from tradewind.storage.translation import (
    exists_already,
    is_clash,
    is_lost_upload,
    is_taken,
    is_unsupported,
    passes,
    translated,
)

if TYPE_CHECKING:
    import obstore.store

T = TypeVar("T")

LIST_CHUNK = 1000
STREAM_CHUNK = 2**20
PART = 8 * 2**20
"""Larger objects are sent in parts of this many bytes."""

PARTS_AT_ONCE = 4
IN_PARTS_FROM = 64 * 2**20
"""Bytes. One connection to a cloud carries some 100 MB/s, whatever the machine could take."""
MOST_PARTS = 9_000
"""S3 and Google take 10,000 parts of one object, Azure 50,000."""

PART_RETRIES = 6
CONNECT_S = 5.0
REQUEST_S = 3600.0
"""The longest that one answer may take while it makes progress."""

MARK = "writer"
"""The metadata by which a create recognises an object as its own."""


@dataclass(frozen=True)
class ObjectStore:
    """Keys below `url`. `open_native(url, max_retries)` makes obstore's own object.

    `folder` is set for folders of this machine, `is_remote` for servers.
    """

    url: str
    open_native: Callable[..., Any]
    folder: Path | None = None
    is_remote: bool = False

    def __reduce__(self) -> tuple[Any, ...]:
        return ObjectStore, (self.url, self.open_native, self.folder, self.is_remote)

    def get(self, key: str) -> bytes:
        import obstore

        with self._translated(key):
            return self._tried(lambda: obstore.get(self._present, key).bytes().to_bytes())

    def stream(self, key: str) -> Iterator[bytes]:
        """An answer that breaks off is continued where it did, if the object is still the same.

        Parts of a large object come at the same time, and are given in their order.
        """
        patience, seen, done = Patience(), None, 0
        with self._translated(key):
            while True:
                try:
                    pieces, seen = self._pieces(key, done, seen)
                    if self.is_remote and seen[1] - done >= IN_PARTS_FROM:
                        pieces = self._parts(key, done, seen)
                    for piece in pieces:
                        done += len(piece)
                        patience.renew()
                        yield piece
                    return
                except Exception as exc:
                    if not self._passes(exc) or not patience.pause():
                        raise

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> builtins.list[bytes]:
        import obstore

        if not ranges:
            return []
        starts, ends = zip(*ranges, strict=True)
        with self._translated(key):
            found = self._tried(lambda: obstore.get_ranges(self._present, key, starts=starts, ends=ends))
            parts = [part.to_bytes() for part in found]
        for (start, end), part in zip(ranges, parts, strict=True):
            if len(part) != end - start:
                raise StorageError(f"{self.url}/{key} has no bytes {start} to {end}", hint="the object is too short")
        return parts

    def put(self, key: str, data: bytes | Path) -> None:
        import obstore

        if isinstance(data, Path) and not data.is_file():
            raise NotFoundError(f"there is no file {data} to store as {self.url}/{key}")
        num_bytes = data.stat().st_size if isinstance(data, Path) else len(data)
        part = max(PART, -(-num_bytes // MOST_PARTS))
        in_parts = self.is_remote and num_bytes > part

        def send() -> None:
            native = self._persistent if in_parts else self._native
            obstore.put(native, key, data, chunk_size=part, max_concurrency=PARTS_AT_ONCE)

        with self._translated(key):
            self._tried(send, or_lost=in_parts)

    def create(self, key: str, data: bytes) -> None:
        """Each create marks its object: so that after a lost answer it knows its own, also among equal bytes."""
        with self._translated(key):
            if self.is_remote and is_single_writer():
                self._create_alone(key, data)
            else:
                self._create_among_others(key, data)

    def list(self, prefix: str, *, after: str | None = None) -> Iterator[ObjectInfo]:
        if self._is_absent:
            return
        patience, after, in_order = Patience(), after or "", True
        with self._translated(prefix):
            while True:
                try:
                    for item in self._listed(prefix, after):
                        in_order = in_order and item.key > after
                        after = max(after, item.key)
                        patience.renew()
                        yield item
                    return
                except Exception as exc:
                    if not self._passes(exc) or not in_order or not patience.pause():
                        raise

    def folders(self, prefix: str) -> builtins.list[str]:
        import obstore

        if self._is_absent:
            return []
        with self._translated(prefix):
            found = self._tried(lambda: obstore.list_with_delimiter(self._native, prefix)["common_prefixes"])
        names = sorted(path.rpartition("/")[2] for path in found)
        return [name for name in names if self.folder is None or _holds_a_file(self.folder / prefix / name)]

    def head(self, key: str) -> ObjectInfo:
        import obstore

        with self._translated(key):
            return replace(_info(self._tried(lambda: obstore.head(self._present, key))), key=key)

    def delete(self, key: str) -> None:
        import obstore

        try:
            with self._translated(key):
                self._tried(lambda: obstore.delete(self._present, key))
        except NotFoundError:
            return

    def local_path(self, key: str) -> Path | None:
        check_key(key)
        return self.folder / key if self.folder else None

    def _pieces(self, key: str, start: int, seen: tuple[Any, ...] | None) -> tuple[Iterator[bytes], tuple[Any, ...]]:
        """The rest of an object from a byte on, and what tells it from another one of this key."""
        import obstore

        if seen is not None and start >= seen[1]:
            return iter(()), seen
        answer = obstore.get(self._present, key, options={"range": {"offset": start}} if start else None)
        return iter(answer.stream(STREAM_CHUNK)), self._check_same(key, seen, answer)

    def _parts(self, key: str, start: int, seen: tuple[Any, ...]) -> Iterator[bytes]:
        """The same rest in parts, some of which are on their way while one is used."""
        starts = iter(range(start, seen[1], PART))
        with ThreadPoolExecutor(PARTS_AT_ONCE, thread_name_prefix="tradewind-parts") as pool:
            waiting = deque(pool.submit(self._part, key, first, seen) for first in islice(starts, PARTS_AT_ONCE))
            try:
                while waiting:
                    yield waiting.popleft().result()
                    waiting.extend(pool.submit(self._part, key, first, seen) for first in islice(starts, 1))
            finally:
                for part in waiting:
                    part.cancel()

    def _part(self, key: str, start: int, seen: tuple[Any, ...]) -> bytes:
        import obstore

        def ask() -> bytes:
            answer = obstore.get(self._present, key, options={"range": (start, min(start + PART, seen[1]))})
            self._check_same(key, seen, answer)
            return answer.bytes().to_bytes()

        return self._tried(ask)

    def _check_same(self, key: str, seen: tuple[Any, ...] | None, answer: Any) -> tuple[Any, ...]:
        """What tells the object from another one of its key. Raises StorageError when it is not the one `seen`."""
        now = (answer.meta["e_tag"], answer.meta["size"])
        if seen not in (None, now):
            raise StorageError(f"{self.url}/{key} was replaced while it was read", hint="read it again")
        return now

    def _listed(self, prefix: str, after: str) -> Iterator[ObjectInfo]:
        import obstore

        for chunk in obstore.list(self._native, prefix, offset=after or None, chunk_size=LIST_CHUNK):
            yield from (_info(item) for item in chunk if not after or item["path"] > after)

    def _create(self, key: str, data: bytes) -> None:
        patience, mark, is_unsure = Patience(), uuid.uuid4().hex, False
        while True:
            try:
                return self._put_if_absent(key, data, mark)
            except Exception as exc:
                if not self._passes(exc) and not (is_unsure and is_taken(exc)):
                    raise
                is_unsure = is_unsure or not is_clash(exc)
                if is_unsure and (is_ours := self._is_ours(key, data, mark)) is not None:
                    if is_ours:
                        return None
                    raise exists_already(f"{self.url}/{key}") from None
                if not patience.pause():
                    raise

    def _put_if_absent(self, key: str, data: bytes, mark: str) -> None:
        import obstore

        obstore.put(self._native, key, data, mode="create", attributes={MARK: mark} if self.is_remote else None)

    def _is_ours(self, key: str, data: bytes, mark: str) -> bool | None:
        """Whether the object that is there came from this create; None when there is none."""
        import obstore

        def read() -> bool:
            found = obstore.get(self._native, key)
            written_by = found.attributes.get(MARK)
            return written_by == mark if written_by else found.bytes().to_bytes() == data

        try:
            return self._tried(read)
        except FileNotFoundError:
            return None

    def _create_among_others(self, key: str, data: bytes) -> None:
        try:
            self._create(key, data)
        except Exception as exc:
            if not is_unsupported(exc):
                raise
            raise needs_one_writer(self.url) from None

    def _create_alone(self, key: str, data: bytes) -> None:
        """For stores without conditional writes, by the one writer that there is."""
        if self._is_there(key):
            raise exists_already(f"{self.url}/{key}")
        try:
            self._create(key, data)
        except Exception as exc:
            if not is_unsupported(exc):
                raise
            self.put(key, data)

    def _is_there(self, key: str) -> bool:
        try:
            self.head(key)
        except NotFoundError:
            return False
        return True

    def _tried(self, work: Callable[[], T], *, or_lost: bool = False) -> T:
        return with_patience(work, passes=lambda exc: self._passes(exc) or (or_lost and is_lost_upload(exc)))

    def _passes(self, exc: BaseException) -> bool:
        return self.is_remote and passes(exc)

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
        refuse_forked_child(self.url)
        return self._opened

    @property
    def _persistent(self) -> obstore.store.ObjectStore:
        """The same store, which repeats requests by itself."""
        refuse_forked_child(self.url)
        return self._opened_persistent

    @cached_property
    def _opened(self) -> obstore.store.ObjectStore:
        native: obstore.store.ObjectStore = self.open_native(self.url)
        return native

    @cached_property
    def _opened_persistent(self) -> obstore.store.ObjectStore:
        native: obstore.store.ObjectStore = self.open_native(self.url, PART_RETRIES)
        return native

    def _translated(self, key: str) -> AbstractContextManager[None]:
        check_key(key)
        return translated(self.url, key)


def connection_options(endpoint: str | None, max_retries: int) -> dict[str, Any]:
    """How obstore talks with a server. Stores of this process repeat requests themselves: then `max_retries` is 0."""
    return {
        "client_options": {
            "allow_http": (endpoint or "").startswith("http://"),
            "connect_timeout": timedelta(seconds=CONNECT_S),
            "read_timeout": timedelta(seconds=STALLED_S),
            "timeout": timedelta(seconds=REQUEST_S),
        },
        "retry_config": {"max_retries": max_retries, "retry_timeout": timedelta(seconds=TRY_FOR_S)},
    }


def _info(item: Any) -> ObjectInfo:
    return ObjectInfo(item["path"], item["size"], item["last_modified"])


def _holds_a_file(folder: Path) -> bool:
    return any(path.is_file() for path in folder.rglob("*"))
