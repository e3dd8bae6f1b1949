"""Sharded checkpoints straight to a store: each rank writes its part, and the record of the whole comes last.

The bytes are torch.distributed.checkpoint's own; every file is hashed when it is written and checked when it is read.
"""

from __future__ import annotations

import hashlib
import io
import os
import traceback
import warnings
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch.distributed as dist
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemBase, FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.metadata import Metadata
from torch.distributed.checkpoint.state_dict_loader import load as load_sharded
from torch.distributed.checkpoint.state_dict_saver import save as save_sharded

from tradewind.errors import IntegrityError, TradewindError
from tradewind.records import CheckpointRecord, StoredFile
from tradewind.storage import Store, get_content


@dataclass
class StoreFileSystem(FileSystemBase):
    """What torch's checkpoint code needs of a file system, on a Store. `known` are the files that may be read."""

    store: Store
    known: dict[str, StoredFile] = field(default_factory=dict)
    written: list[StoredFile] = field(default_factory=list)

    @contextmanager
    def create_stream(self, path: str | os.PathLike[str], mode: str) -> Generator[io.IOBase, None, None]:
        key = os.fspath(path)
        if "w" not in mode:
            yield io.BytesIO(self._read(key))
            return
        buffer = _OpenBytes()
        yield buffer
        data = buffer.getvalue()
        self.store.put(key, data)
        self.written.append(StoredFile(key=key, sha256=hashlib.sha256(data).hexdigest(), num_bytes=len(data)))

    def _read(self, key: str) -> bytes:
        if key not in self.known:
            raise IntegrityError(f"the checkpoint's record does not name {key}", hint="use an earlier checkpoint")
        return get_content(self.store, self.known[key], what="checkpoint")

    def concat_path(self, path: str | os.PathLike[str], suffix: str) -> str:
        return f"{os.fspath(path)}/{suffix}"

    def init_path(self, path: str | os.PathLike[str]) -> str:
        return os.fspath(path)

    def rename(self, path: str | os.PathLike[str], new_path: str | os.PathLike[str]) -> None:
        """Torch writes its metadata beside its place and then moves it: here that is one more put."""
        old, new = os.fspath(path), os.fspath(new_path)
        moved = next(file for file in self.written if file.key == old)
        self.store.put(new, self.store.get(old))
        self.store.delete(old)
        self.written[self.written.index(moved)] = moved.model_copy(update={"key": new})

    def mkdir(self, path: str | os.PathLike[str]) -> None:
        """A store has no folders to make."""

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike[str]) -> bool:
        return isinstance(checkpoint_id, str) and not isinstance(checkpoint_id, Path)

    def exists(self, path: str | os.PathLike[str]) -> bool:  # noqa: ARG002
        """Every attempt writes below a prefix of its own, where nothing can exist."""
        return False

    def rm_file(self, path: str | os.PathLike[str]) -> None:
        self.store.delete(os.fspath(path))


class _OpenBytes(io.BytesIO):
    """Torch closes the stream that it writes to; the bytes are wanted afterwards."""

    def close(self) -> None:
        self.seek(0)


class StoreWriter(FileSystemWriter):
    def __init__(self, store: Store, prefix: str) -> None:
        super().__init__(prefix, sync_files=False)
        self.fs = self.files = StoreFileSystem(store)  # type: ignore[assignment]
        self.path = prefix


class StoreReader(FileSystemReader):
    def __init__(self, store: Store, record: CheckpointRecord) -> None:
        prefix = record.files[0].key.rpartition("/")[0]
        super().__init__(prefix)
        known = {file.key: file for file in record.files}
        self.fs = StoreFileSystem(store, known=known)  # type: ignore[assignment]
        self.path = prefix

    def read_metadata(self) -> Metadata:
        """Torch takes an `Exception` here for a sign of its other format, and complains that its files are missing."""
        try:
            return super().read_metadata()
        except TradewindError as exc:
            raise CheckpointException("metadata", {0: (exc, traceback.extract_tb(exc.__traceback__))}) from exc


def save(store: Store, prefix: str, state: dict[str, Any]) -> tuple[StoredFile, ...]:
    """Write the parts of all ranks below a prefix. A collective; every rank gets the list of all files."""
    writer = StoreWriter(store, prefix)
    with _own_errors():
        save_sharded(state, storage_writer=writer)
    parts: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(parts, writer.files.written)
    return tuple(file for part in parts for file in part)


def load(store: Store, record: CheckpointRecord, state: dict[str, Any], *, alone: bool = False) -> None:
    """Fill a state dict in place, resharding as needed. A collective unless `alone`. Raises IntegrityError."""
    with _own_errors(), warnings.catch_warnings():
        if alone:  # torch warns about what was asked for
            warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        load_sharded(state, storage_reader=StoreReader(store, record), no_dist=alone)


@contextmanager
def _own_errors() -> Generator[None, None, None]:
    """Raise what a rank has raised, on every rank. Torch wraps it in something that no `except Exception` catches."""
    try:
        yield
    except CheckpointException as exc:
        causes = list(_causes(exc))
        raise next((cause for cause in causes if isinstance(cause, TradewindError)), causes[0]) from exc


def _causes(exc: CheckpointException) -> Iterator[BaseException]:
    for cause, _ in exc.failures.values():
        if isinstance(cause, CheckpointException):
            yield from _causes(cause)
        else:
            yield cause
