"""The metadata of a checkpoint: a file that torch reads whole and that a rank of ours reads in parts.

It begins with a pickle of torch's `Metadata`, in which the places of the pieces are as each rank has packed them for
itself: `FileSystemReader` unpacks all, with nothing but torch and Python's library. Behind that, where no reader of
pickles looks, is an index: who wrote which pieces, and where in this file that rank's places are. For 405B parameters
on 1,024 ranks that is a hundredth of the file.
"""

from __future__ import annotations

import pickle
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import chain
from typing import Any, Self

import numpy as np
import torch
from torch.distributed.checkpoint.filesystem import _StorageInfo
from torch.distributed.checkpoint.metadata import (
    STORAGE_TYPES,
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.planner_helpers import _create_chunk_list
from torch.distributed.tensor import DTensor

from tradewind.errors import IntegrityError
from tradewind.records import CheckpointRecord, StoredFile
from tradewind.storage import Store, get_content
from tradewind.storage.integrity import altered, owned
from tradewind.training.checkpoint.outline import Outline

METADATA = ".metadata"
WHOLE_BELOW_BYTES = 4 * 2**20
"""A file that takes no longer whole than in parts, and whose checksum is then checked."""
TAIL_BYTES = 2**20
"""Of a larger one this much of the end is read first: where the index is most likely."""
FOOTER = struct.Struct("<Q32s8s")
"""Length and SHA-256 of the index, and a mark."""
MARK = b"tradwind"

Span = tuple[int, int]
Places = dict[MetadataIndex, _StorageInfo]
Part = tuple[Span, bytes]
"""Where the places of a rank's pieces are in the file, and their SHA-256."""
Read = Callable[[Sequence[Part]], Sequence[bytes]]


@dataclass(frozen=True)
class _Index:
    outline: Outline
    parts: tuple[Part, ...]
    """Of each rank."""

    def pickled(self) -> bytes:
        """Of torch's classes and Python's alone, so that no name of ours is in a file."""
        outline = (self.outline.kept, self.outline.paths, self.outline.holders, self.outline.turns)
        return pickle.dumps((outline, self.parts))

    @classmethod
    def unpickled(cls, data: bytes) -> Self:
        outline, parts = pickle.loads(data)  # noqa: S301 - its checksum was checked
        return cls(Outline(*outline), parts)


class _Call:
    """Pickled as the call of a function, which is made when it is unpickled."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._function = function
        self._arguments = arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self._function, self._arguments


def packed(places: Mapping[MetadataIndex, tuple[str, int, int]]) -> bytes:
    """File, offset and length of the pieces of one rank: columns of a table, pickled as the dictionary they make."""
    names = [index.fqn for index in places]
    starts = [None if index.offset is None else tuple(index.offset) for index in places]
    paths, offsets, lengths = ([place[column] for place in places.values()] for column in range(3))
    keys = _Call(map, MetadataIndex, names, starts)
    values = _Call(map, _StorageInfo, paths, offsets, lengths)
    return zlib.compress(pickle.dumps(_Call(dict, _Call(zip, keys, values))), level=1)


def assembled(outline: Outline, parts: Sequence[bytes]) -> bytes:
    """The file, of what each rank has packed. It names no checkpoint, so it fits each of the same plan."""
    unpacked = _Call(map, pickle.loads, _Call(map, zlib.decompress, list(parts)))
    places = _Call(dict, _Call(chain.from_iterable, _Call(map, dict.items, unpacked)))
    data = pickle.dumps(Metadata(outline.kept, planner_data=outline.paths, storage_data=places))
    index = zlib.compress(_Index(outline, tuple(_found(parts, data))).pickled(), level=1)
    return b"".join((data, index, FOOTER.pack(len(index), sha256(index).digest(), MARK)))


def _found(parts: Sequence[bytes], data: bytes) -> Iterator[Part]:
    end = 0
    for part in parts:
        start = data.index(part, end)
        end = start + len(part)
        yield (start, end), sha256(part).digest()


class Contents:
    """What a checkpoint holds, and where; the places of a rank's pieces are read when somebody needs one of them."""

    def __init__(self, metadata: Metadata, index: _Index | None, read: Read) -> None:
        self.kept: Mapping[str, STORAGE_TYPES] = metadata.state_dict_metadata
        self._places: Places = metadata.storage_data or {}
        self._index = index
        self._read = read
        self._seen: set[int] = set()
        self._overlaps = _Overlaps()

    def of(self, flat: Mapping[str, Any]) -> Metadata:
        """Torch's metadata of the pieces from which this rank's part of a state is made, and no others.

        The state has no other names or shapes than the checkpoint. Raises IntegrityError.
        """
        if self._index is None:
            return Metadata(dict(self.kept), storage_data=self._places)
        kept: dict[str, STORAGE_TYPES] = {}
        writers: set[int] = set()
        for name, value in flat.items():
            whole = kept[name] = self.kept[name]
            numbers: Sequence[int] = (0,)
            if isinstance(whole, TensorStorageMetadata):
                numbers = self._overlaps.with_chunks(whole.chunks, value)
                kept[name] = replace(whole, chunks=[whole.chunks[number] for number in numbers])
            writers.update(self._index.outline.writer(name, number) for number in numbers)
        self._read_parts(sorted(writers - self._seen))
        return Metadata(kept, storage_data=self._places)

    def _read_parts(self, ranks: Sequence[int]) -> None:
        assert self._index
        for data in self._read([self._index.parts[rank] for rank in ranks]) if ranks else ():
            self._places |= pickle.loads(zlib.decompress(data))  # noqa: S301 - its checksum was checked
        self._seen.update(ranks)


class _Overlaps:
    """Which pieces overlap with a tensor of this rank; for tensors that are cut alike, reckoned once."""

    def __init__(self) -> None:
        self._chunks: dict[int, tuple[Any, Any]] = {}
        self._known: dict[tuple[Any, ...], list[int]] = {}

    def with_chunks(self, chunks: list[ChunkStorageMetadata], value: torch.Tensor) -> list[int]:
        how = (value.device_mesh, value.placements) if isinstance(value, DTensor) else ()
        key = (id(chunks), value.shape, *how)
        if key not in self._known:
            if id(chunks) not in self._chunks:
                self._chunks[id(chunks)] = _ends(chunks, value.dim())
            self._known[key] = _overlapping(*self._chunks[id(chunks)], _ends(_own(value), value.dim()))
        return self._known[key]


def _own(value: torch.Tensor) -> list[ChunkStorageMetadata]:
    if isinstance(value, DTensor) and value.device_mesh.get_coordinate() is None:
        return []
    return _create_chunk_list(value)


def _ends(chunks: Sequence[ChunkStorageMetadata], dims: int) -> tuple[Any, Any]:
    starts = np.array([tuple(chunk.offsets) for chunk in chunks], dtype=np.int64).reshape(len(chunks), dims)
    sizes = np.array([tuple(chunk.sizes) for chunk in chunks], dtype=np.int64).reshape(len(chunks), dims)
    return starts, starts + sizes


def _overlapping(starts: Any, ends: Any, own: tuple[Any, Any]) -> list[int]:
    found = np.zeros(len(starts), dtype=bool)
    for start, end in zip(*own, strict=True):
        if (start < end).all():
            found |= ((starts < end) & (ends > start)).all(axis=1)
    numbers: list[int] = np.flatnonzero(found).tolist()
    return numbers


def read_contents(store: Store, record: CheckpointRecord) -> Contents:
    """What a checkpoint holds. Of a large file only its end is read now. Raises IntegrityError."""
    file = next((file for file in record.files if file.key.endswith(f"/{METADATA}")), None)
    if file is None:
        raise IntegrityError(f"{record.id} names no {METADATA}", hint="use an earlier checkpoint")
    if file.num_bytes <= WHOLE_BELOW_BYTES:
        return _contents_of(get_content(store, file, what=record.id))
    return _contents_in(store, file, what=record.id)


def _contents_of(data: bytes) -> Contents:
    index = _index_in(data)
    if index is None:
        return _of_one_piece(data)
    return Contents(Metadata(dict(index.outline.kept)), index, lambda parts: [data[slice(*span)] for span, _ in parts])


def _contents_in(store: Store, file: StoredFile, *, what: str) -> Contents:
    with owned(file, what=what):
        size = store.head(file.key).num_bytes
    if size != file.num_bytes:
        raise altered(file, f"has {size} bytes instead of {file.num_bytes}", what=what)

    def read(*spans: Span) -> list[bytes]:
        with owned(file, what=what):
            return store.get_ranges(file.key, spans)

    def read_parts(parts: Sequence[Part]) -> list[bytes]:
        found = read(*(span for span, _ in parts))
        if any(sha256(data).digest() != digest for data, (_, digest) in zip(found, parts, strict=True)):
            raise altered(file, "has another checksum than it was written with", what=what)
        return found

    (tail,) = read((size - TAIL_BYTES, size))
    length, _, mark = FOOTER.unpack(tail[-FOOTER.size :])
    if mark != MARK:
        return _contents_of(get_content(store, file, what=what))
    if length + FOOTER.size > len(tail):
        (tail,) = read((max(0, size - FOOTER.size - length), size))
    index = _index_in(tail)
    if index is None:
        raise altered(file, "has an index with another checksum than it was written with", what=what)
    return Contents(Metadata(dict(index.outline.kept)), index, read_parts)


def _index_in(tail: bytes) -> _Index | None:
    """The index at the end of a file; None where there is none, or one that was altered."""
    length, digest, mark = FOOTER.unpack(tail[-FOOTER.size :])
    data = tail[-FOOTER.size - length : -FOOTER.size]
    if mark != MARK or sha256(data).digest() != digest:
        return None
    return _Index.unpickled(zlib.decompress(data))


def _of_one_piece(data: bytes) -> Contents:
    """Earlier versions wrote torch's metadata and nothing else."""
    metadata: Metadata = pickle.loads(data)  # noqa: S301 - its checksum was checked
    return Contents(metadata, None, lambda _: [])
