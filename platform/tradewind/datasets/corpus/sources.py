"""Files that hold documents: which ones a spec means, in which order, and how their bytes are read.

The order depends on the names of the files alone: it is that of a hash of the path below the fixed part of the pattern.
So it is the same on every machine and every store that has the same files.
"""

from __future__ import annotations

import glob
import hashlib
import io
import itertools
import re
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch, fnmatchcase
from functools import cache
from pathlib import Path
from typing import IO, cast

from tradewind.errors import NotFoundError, SpecError
from tradewind.specs import ChatSpec, TextSpec
from tradewind.storage import ObjectInfo, Store, open_store

URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
READ_BYTES = 4 * 2**20
"""What one request to a store asks for; a local file is read in pieces as large."""
COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
LINES = (".jsonl", ".ndjson")


@dataclass(frozen=True)
class Source:
    """A file with documents: a path of this machine, or a key of a store. `changed` tells a file from its successor."""

    name: str
    key: str
    num_bytes: int
    changed: str
    store: str | None = None

    @property
    def location(self) -> str:
        """The path or URL, for people."""
        return f"{self.store}/{self.key}" if self.store else self.key

    @property
    def compression(self) -> str | None:
        return COMPRESSIONS.get(_suffix(self.name))

    @property
    def format(self) -> str:
        """`parquet`, `lines` of JSON, or `plain`: one document. A `.json` file is plain unless it is compressed."""
        bare = self.name[: -len(_suffix(self.name))] if self.compression else self.name
        if _suffix(bare) == ".parquet" and not self.compression:
            return "parquet"
        return "lines" if _suffix(bare) in (*LINES, *([".json"] if self.compression else [])) else "plain"

    def open(self) -> IO[bytes]:
        """The bytes of the file as they are stored, from the start. Raises OSError, or what a store raises."""
        if self.store is None:
            return Path(self.key).open("rb", buffering=READ_BYTES)
        return cast(
            IO[bytes], io.BufferedReader(_StoredBytes(_store(self.store), self.key, self.num_bytes), READ_BYTES)
        )


@dataclass(frozen=True)
class Part:
    """The documents of a source that begin in [start, end): bytes of JSON lines, row groups of Parquet. Or all."""

    source: Source
    start: int = 0
    end: int | None = None


def find_sources(spec: TextSpec | ChatSpec) -> list[Source]:
    """The files of a spec in their order, empty ones left out. Raises NotFoundError when no file matches."""
    found: dict[str, Source] = {}
    for pattern in spec.files:
        matches = _stored(pattern, spec.exclude) if URL.match(pattern) else _local(pattern, spec.exclude)
        found |= {source.location: source for source in matches}
    sources = [source for source in found.values() if source.num_bytes]
    if not sources:
        what, like = ("text files", "txt") if isinstance(spec, TextSpec) else ("files", "jsonl")
        raise NotFoundError(f"no {what} match {', '.join(spec.files)}", hint=f"** crosses folders: /data/**/*.{like}")
    return sorted(sources, key=lambda source: hashlib.sha256(source.name.encode(errors="surrogateescape")).digest())


def read_whole(place: str) -> bytes:
    """The bytes at a path or URL. Raises NotFoundError."""
    try:
        if URL.match(place):
            folder, _, name = place.rpartition("/")
            return open_store(folder).get(name)
        return Path(place).expanduser().read_bytes()
    except FileNotFoundError as exc:
        raise NotFoundError(f"there is no file {place}") from exc
    except OSError as exc:
        raise SpecError(f"{place} cannot be read: {exc.strerror}", hint="fix its rights") from exc


def _local(pattern: str, exclude: Sequence[str]) -> Iterator[Source]:
    """Files of this machine; several links to one are one."""
    full = str(Path(_filled(pattern)).expanduser())
    folders = itertools.takewhile(lambda part: not glob.has_magic(part), Path(full).parent.parts)
    base = Path(*folders)
    for found in sorted(glob.iglob(full, recursive=True)):  # noqa: PTH207 - Path.glob takes no absolute patterns
        path, name = Path(found), str(Path(found).relative_to(base))
        if path.is_file() and not _excluded(found, name, exclude):
            status = path.stat()
            yield Source(name, str(path.resolve()), status.st_size, str(status.st_mtime_ns))


def _stored(pattern: str, exclude: Sequence[str]) -> Iterator[Source]:
    """Objects of a store whose keys match a pattern as paths would."""
    scheme, _, path = _filled(pattern).partition("://")
    parts = path.split("/")
    fixed = list(itertools.takewhile(lambda part: not glob.has_magic(part), parts[:-1]))
    store = _store(f"{scheme}://{'/'.join(fixed)}")
    wanted = parts[len(fixed) :]
    for item in sorted(_listed(store, wanted), key=lambda item: item.key):
        source = Source(item.key, item.key, item.num_bytes, str(item.modified_at), store.url)
        if _matches(item.key.split("/"), wanted) and not _excluded(source.location, item.key, exclude):
            yield source


def _listed(store: Store, wanted: list[str]) -> Iterator[ObjectInfo]:
    if len(wanted) > 1 or glob.has_magic(wanted[0]):
        yield from store.list("")
        return
    try:
        yield store.head(wanted[0])
    except NotFoundError:
        return


def _filled(pattern: str) -> str:
    try:
        return pattern.format(stdlib=sysconfig.get_path("stdlib"))
    except (AttributeError, KeyError, IndexError, ValueError) as exc:
        raise SpecError(f"{pattern!r} holds an unknown variable", hint="only {stdlib} is known") from exc


def _matches(parts: list[str], wanted: list[str]) -> bool:
    """Whether folders and a name match those of a pattern. As on disk, names with a dot in front want one."""
    if not wanted:
        return not parts
    hidden = bool(parts) and parts[0].startswith(".")
    if wanted[0] == "**":
        return _matches(parts, wanted[1:]) or (bool(parts) and not hidden and _matches(parts[1:], wanted))
    if not parts or (hidden and not wanted[0].startswith(".")):
        return False
    return fnmatchcase(parts[0], wanted[0]) and _matches(parts[1:], wanted[1:])


def _excluded(found: str, name: str, exclude: Sequence[str]) -> bool:
    return any(fnmatch(found if wrong[:1] == "/" or URL.match(wrong) else f"/{name}", wrong) for wrong in exclude)


def _suffix(name: str) -> str:
    return Path(name).suffix.lower()


@cache
def _store(url: str) -> Store:
    return open_store(url)


class _StoredBytes(io.RawIOBase):
    """An object of a store as a file that can be read from anywhere."""

    def __init__(self, store: Store, key: str, num_bytes: int) -> None:
        self._store, self._key, self._size, self._at = store, key, num_bytes, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        end = min(self._size, self._at + len(buffer))
        if end <= self._at:
            return 0
        (data,) = self._store.get_ranges(self._key, [(self._at, end)])
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
