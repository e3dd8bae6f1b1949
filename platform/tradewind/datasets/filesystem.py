"""`tradewind://NAME@VERSION/SPLIT/00000.parquet`: versions of datasets as files, for whatever reads through fsspec.

Read-only. What is read was verified, and comes from the copy of the file on this machine. A name without a version is
the newest one at each call; nothing about it is remembered. Shards of tokens are shown as their ids alone.
"""

from __future__ import annotations

import io
import os
from collections import OrderedDict
from collections.abc import Callable
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
        info = self.info(path)
        found = self._below(path) if info["type"] == "directory" else [info]
        return found if detail else [one["name"] for one in found]

    def info(self, path: str, **_: Any) -> Info:
        path = self._strip_protocol(path)
        reference, _slash, rest = path.partition("/")
        if not reference:
            return _folder("")
        dataset, tables = self._open_version(reference)
        if not rest:
            return {**_folder(path), "version": dataset.record.version}
        if rest in (MANIFEST, TOKENIZER):
            return _file(path, len(self._small(path, dataset, rest)))
        split, _slash, name = rest.partition("/")
        if split not in tables:
            raise _missing(path, f"{dataset.reference} has the splits {', '.join(tables)}")
        return self._shard_info(path, dataset, self._shard(path, tables[split], name)) if name else _folder(path)

    def modified(self, path: str) -> Any:
        return self._version_of(path).record.created_at

    created = modified

    def checksum(self, path: str) -> int:
        """Of a shard what its name is in the store; it changes when the bytes do."""
        info = self.info(path)
        return int(info["sha256"], 16) if "sha256" in info else hash(self.cat_file(path))

    def _open(self, path: str, mode: str = "rb", **_: Any) -> BinaryIO:
        path = self._strip_protocol(path)
        if mode not in ("rb", "r"):
            raise ReadOnlyError(f"{path} cannot be written", hint="versions never change; add or append a version")
        reference, _slash, rest = path.partition("/")
        if self.info(path)["type"] == "directory":
            raise _missing(path, "it is a folder")
        dataset, tables = self._open_version(reference)
        if rest in (MANIFEST, TOKENIZER):
            return io.BytesIO(self._small(path, dataset, rest))
        split, _slash, name = rest.partition("/")
        shard = self._shard(path, tables[split], name)
        with dataset.open_file(shard) as held:
            stream = os.fdopen(os.dup(held.descriptor), "rb", buffering=0)
            stream.seek(0)
        return _readable(stream, self._shard_info(path, dataset, shard)["size"])

    def _below(self, path: str) -> list[Info]:
        reference, _slash, split = path.partition("/")
        if not reference:
            return [_folder(name) for name in self._datasets.names()]
        dataset, tables = self._open_version(reference)
        if not split:
            small = [MANIFEST, *([TOKENIZER] if dataset.record.tokenizer else [])]
            files = [_file(f"{path}/{name}", len(self._small(path, dataset, name))) for name in small]
            return [*files, *(_folder(f"{path}/{name}") for name in tables)]
        table = tables[split]
        return [
            self._shard_info(f"{path}/{_name(table, number)}", dataset, shard) for number, shard in enumerate(table)
        ]

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

    def _version_of(self, path: str) -> Dataset:
        reference = self._strip_protocol(path).partition("/")[0]
        if not reference:
            raise _missing(path, "name a dataset")
        return self._open_version(reference)[0]

    def _small(self, path: str, dataset: Dataset, name: str) -> bytes:
        if name == MANIFEST:
            return dataset.record.to_json()
        if dataset.record.tokenizer is None:
            raise _missing(path, f"{dataset.reference} is a table")
        return dataset.tokenizer_json()

    def _shard(self, path: str, table: ShardTable, name: str) -> Shard:
        stem = name.removesuffix(table.suffix)
        if not stem.isdecimal() or int(stem) >= len(table) or _name(table, int(stem)) != name:
            raise _missing(path, f"the last one is {_name(table, len(table) - 1)}")
        return table[int(stem)]

    def _shard_info(self, path: str, dataset: Dataset, shard: Shard) -> Info:
        is_table = dataset.record.format == "table"
        size = shard.num_bytes if is_table else token_bytes(shard, dataset.dtype)
        return {**_file(path, size), "sha256": shard.sha256}


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


def _name(table: ShardTable, number: int) -> str:
    """All names of a split have the same length, so that they sort as the shards stand."""
    return f"{number:0{max(DIGITS, len(str(len(table) - 1)))}d}{table.suffix}"


def _folder(path: str) -> Info:
    return {"name": path, "size": 0, "type": "directory"}


def _file(path: str, size: int) -> Info:
    return {"name": path, "size": size, "type": "file"}


def _missing(path: str, problem: str, *, hint: str | None = None) -> MissingFileError:
    return MissingFileError(f"there is no tradewind://{path}: {problem}", hint=hint or "list the folder above it")
