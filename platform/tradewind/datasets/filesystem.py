"""`tradewind://NAME@VERSION/SPLIT/00000.parquet`: versions of datasets as files, for whatever reads through fsspec.

Read-only. What is read was verified, and comes from the copy of the file on this machine. A name without a version is
the newest one at each call; nothing about it is remembered. Shards of tokens are shown as their ids alone.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO, cast

from fsspec.spec import AbstractFileSystem

from tradewind.datasets.blocks import token_bytes
from tradewind.datasets.dataset import Dataset
from tradewind.datasets.shards import ShardTable
from tradewind.datasets.versions import Datasets
from tradewind.errors import NotFoundError, SpecError
from tradewind.records import Shard
from tradewind.specs import Reference
from tradewind.storage import open_store

WORKSPACE = "TRADEWIND_WORKSPACE"
MANIFEST, TOKENIZER = "manifest.json", "tokenizer.json"
DIGITS = 5
REMEMBERED = 16

Info = dict[str, Any]


@dataclass(frozen=True)
class _Found:
    """What a path means in one version: a small file, a shard of a split, or else a folder."""

    path: str
    dataset: Dataset
    tables: dict[str, ShardTable]
    small: bytes | None = None
    split: str = ""
    shard: Shard | None = None

    def info(self) -> Info:
        if self.small is not None:
            return _file(self.path, len(self.small))
        if self.shard is not None:
            return _shard_info(self.path, self.dataset, self.shard)
        return _folder(self.path) if self.split else {**_folder(self.path), "version": self.dataset.record.version}


class MissingFileError(NotFoundError, FileNotFoundError):
    """Libraries that read files look for Python's own error."""


class ReadOnlyError(SpecError, PermissionError):
    """Libraries that write files look for Python's own error."""


class TradewindFileSystem(AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """The datasets of a workspace: `workspace`, or what `$TRADEWIND_WORKSPACE` says, or `~/.tradewind`."""

    protocol = "tradewind"
    root_marker = ""
    cachable = False
    """An instance would outlive a change of the environment."""

    def __init__(self, workspace: str | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.workspace = workspace or os.environ.get(WORKSPACE) or str(Path.home() / ".tradewind")
        self._datasets = Datasets(open_store(self.workspace))
        self._opened: OrderedDict[tuple[str, int], tuple[Dataset, dict[str, ShardTable]]] = OrderedDict()
        self._lock = Lock()

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """Another machine has another environment."""
        return TradewindFileSystem, (self.workspace,)

    @property
    def fsid(self) -> str:
        return f"tradewind-{self._datasets.store.url}"

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Info] | list[str]:
        path = self._strip_protocol(path)
        found = self._below(self._find(path)) if path else [_folder(name) for name in self._datasets.names()]
        return found if detail else [one["name"] for one in found]

    def info(self, path: str, **_: Any) -> Info:
        path = self._strip_protocol(path)
        return self._find(path).info() if path else _folder("")

    def modified(self, path: str) -> Any:
        return self._find(self._strip_protocol(path)).dataset.record.created_at

    created = modified

    def checksum(self, path: str) -> int:
        """The SHA-256 of a file's bytes, of a shard that of its stored ones; it changes when they do."""
        path = self._strip_protocol(path)
        found = self._find(path)
        if found.shard is not None:
            return int(found.shard.sha256, 16)
        if found.small is not None:
            return int(hashlib.sha256(found.small).hexdigest(), 16)
        raise _missing(path, "it is a folder")

    def _open(self, path: str, mode: str = "rb", **_: Any) -> BinaryIO:
        path = self._strip_protocol(path)
        if mode not in ("rb", "r"):
            raise ReadOnlyError(f"{path} cannot be written", hint="versions never change; add or append a version")
        found = self._find(path)
        if found.small is not None:
            return io.BytesIO(found.small)
        if found.shard is None:
            raise _missing(path, "it is a folder")
        with found.dataset.open_file(found.shard) as held:
            stream = os.fdopen(os.dup(held.descriptor), "rb", buffering=0)
            stream.seek(0)
        return _readable(stream, found.info()["size"])

    def _find(self, path: str) -> _Found:
        """What a path means now: its version is looked for once, and all else is asked of that one."""
        reference, _slash, rest = path.partition("/")
        if not reference:
            raise _missing(path, "name a dataset")
        dataset, tables = self._open_version(reference)
        if rest in (MANIFEST, TOKENIZER):
            return _Found(path, dataset, tables, small=_small(path, dataset, rest))
        split, _slash, name = rest.partition("/")
        if split and split not in tables:
            raise _missing(path, f"{dataset.reference} has the splits {', '.join(tables)}")
        shard = _shard(path, tables[split], name) if name else None
        return _Found(path, dataset, tables, split=split, shard=shard)

    def _below(self, found: _Found) -> list[Info]:
        path, dataset, tables = found.path, found.dataset, found.tables
        if found.small is not None or found.shard is not None:
            return [found.info()]
        if not found.split:
            small = [MANIFEST, *([TOKENIZER] if dataset.record.tokenizer else [])]
            files = [_file(f"{path}/{name}", len(_small(path, dataset, name))) for name in small]
            return [*files, *(_folder(f"{path}/{name}") for name in tables)]
        table = tables[found.split]
        return [_shard_info(f"{path}/{_name(table, number)}", dataset, shard) for number, shard in enumerate(table)]

    def _open_version(self, reference: str) -> tuple[Dataset, dict[str, ShardTable]]:
        """A version with its lists of shards. What a number means never changes, so only that is remembered."""
        wanted = Reference.parse(reference)
        key = (wanted.name, wanted.version or 0)
        with self._lock:
            if key in self._opened:
                self._opened.move_to_end(key)
                return self._opened[key]
        try:
            dataset = self._datasets.get(reference)
        except NotFoundError as exc:
            raise _missing(reference, exc.message, hint=exc.hint) from exc
        key = (wanted.name, dataset.record.version)
        with self._lock:
            found = self._opened.get(key) or (
                dataset,
                {name: dataset.shard_table(name) for name in dataset.record.splits},
            )
            self._opened[key] = found
            while len(self._opened) > REMEMBERED:
                self._opened.popitem(last=False)
        return found


class _IdsOnly(io.RawIOBase):
    """The beginning of a file, as if it ended there."""

    def __init__(self, stream: io.RawIOBase, size: int) -> None:
        super().__init__()
        self._stream, self._size = stream, size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        room = max(0, self._size - self._stream.tell())
        return cast(Any, self._stream).readinto(memoryview(buffer)[:room]) or 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._stream.seek(self._size + offset) if whence == os.SEEK_END else self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def close(self) -> None:
        self._stream.close()
        super().close()


def _readable(stream: io.RawIOBase, size: int) -> BinaryIO:
    return cast(BinaryIO, io.BufferedReader(_IdsOnly(stream, size)))


def _small(path: str, dataset: Dataset, name: str) -> bytes:
    if name == MANIFEST:
        return dataset.record.to_json()
    if dataset.record.tokenizer is None:
        raise _missing(path, f"{dataset.reference} is a table")
    return dataset.tokenizer_json()


def _shard(path: str, table: ShardTable, name: str) -> Shard:
    stem = name.removesuffix(table.suffix)
    if not stem.isdecimal() or int(stem) >= len(table) or _name(table, int(stem)) != name:
        raise _missing(path, f"the last one is {_name(table, len(table) - 1)}")
    return table[int(stem)]


def _shard_info(path: str, dataset: Dataset, shard: Shard) -> Info:
    is_table = dataset.record.format == "table"
    size = shard.num_bytes if is_table else token_bytes(shard, dataset.dtype)
    return {**_file(path, size), "sha256": shard.sha256}


def _name(table: ShardTable, number: int) -> str:
    """All names of a split have the same length, so that they sort as the shards stand."""
    return f"{number:0{max(DIGITS, len(str(len(table) - 1)))}d}{table.suffix}"


def _folder(path: str) -> Info:
    return {"name": path, "size": 0, "type": "directory"}


def _file(path: str, size: int) -> Info:
    return {"name": path, "size": size, "type": "file"}


def _missing(path: str, problem: str, *, hint: str | None = None) -> MissingFileError:
    return MissingFileError(f"there is no tradewind://{path}: {problem}", hint=hint or "list the folder above it")
