"""Checkpoints read back, on any number of ranks and any mesh: each rank takes the pieces that overlap with its own.

What is taken is verified: a file that is read for the most part by its SHA-256, of others each piece by the CRC-32 that
torch's own format keeps. A file of this machine is mapped and never copied.
"""

from __future__ import annotations

import io
import mmap
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256
from typing import Any

import torch
from torch.distributed._shard._utils import narrow_tensor_by_index
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.metadata import STORAGE_TYPES, Metadata, TensorStorageMetadata
from torch.distributed.checkpoint.planner import LoadItemType, LoadPlanner, ReadItem

from tradewind.errors import IntegrityError, SpecError, TradewindError, did_you_mean
from tradewind.records import CheckpointRecord, StoredFile
from tradewind.storage import Store
from tradewind.storage.integrity import altered, missing, owned
from tradewind.training.checkpoint.contents import Contents, read_contents
from tradewind.training.checkpoint.group import Group
from tradewind.training.checkpoint.piece import check_piece, tensor_in
from tradewind.training.checkpoint.plan import flattened

AT_ONCE = 4
WHOLE_FROM = 0.5
"""Share of a file from which on it is read whole: fewer requests, and a checksum that nothing passes by chance."""
WHOLE_BELOW_BYTES = 8 * 2**20
"""Files that take no longer whole than in pieces."""


def load(store: Store, record: CheckpointRecord, state: dict[str, Any], *, alone: bool = False) -> None:
    """Fill a state in place, resharding as needed. Called by all ranks of the process group unless `alone`.

    Raises on all ranks alike: IntegrityError for bytes that are not what was written, SpecError for the checkpoint of
    another model.
    """
    group = Group.alone() if alone else Group.default()
    agreed(group, lambda: fill(store, record, state, read_contents(store, record)))


def agreed(group: Group, work: Any) -> None:
    """Do work on this rank, and raise on all ranks what one of them has raised. A collective."""
    mine: TradewindError | None = None
    try:
        work()
    except TradewindError as exc:
        mine = exc
    if error := group.first(mine):
        raise error


def fill(store: Store, record: CheckpointRecord, state: dict[str, Any], contents: Contents) -> None:
    """This rank's part of `load`."""
    flat = flattened(state)
    check_same_model(record, flat, contents.kept)
    metadata = contents.of(flat)
    planner = DefaultLoadPlanner()
    planner.set_up_planner(state, metadata, is_coordinator=False)
    wanted: dict[str, list[ReadItem]] = {}
    for item in planner.finish_plan(planner.create_local_plan()).items:
        wanted.setdefault(metadata.storage_data[item.storage_index].relative_path, []).append(item)
    files = {file.key.rpartition("/")[2]: file for file in record.files}

    def read(name: str) -> None:
        if name not in files:
            raise IntegrityError(f"{record.id} does not name its file {name}", hint="use an earlier checkpoint")
        _File(store, record, files[name], metadata).fill(planner, wanted[name])

    with warnings.catch_warnings(), ThreadPoolExecutor(AT_ONCE, thread_name_prefix="tradewind-restore") as pool:
        warnings.filterwarnings("ignore", message="The given buffer is not writable")  # and it is not written to
        for _ in pool.map(read, wanted):
            pass


def check_same_model(record: CheckpointRecord, flat: Mapping[str, Any], kept: Mapping[str, STORAGE_TYPES]) -> None:
    """Raises SpecError for a state that has other names or shapes than the checkpoint."""
    for name, value in flat.items():
        if name not in kept:
            near = did_you_mean(name, kept)
            raise SpecError(f"{record.id} has no {name}{near}", hint="it is of another model, or another optimizer")
        there = kept[name]
        if isinstance(there, TensorStorageMetadata) != isinstance(value, torch.Tensor):
            raise SpecError(f"{name} is a tensor in only one of {record.id} and this model")
        if isinstance(there, TensorStorageMetadata) and tuple(there.size) != tuple(value.shape):
            raise SpecError(
                f"{name} has shape {tuple(there.size)} in {record.id}, and {tuple(value.shape)} here",
                hint="it is of another model: compare the specs of both runs",
            )


class _File:
    def __init__(self, store: Store, record: CheckpointRecord, file: StoredFile, metadata: Metadata) -> None:
        self._store = store
        self._what = record.id
        self._file = file
        self._metadata = metadata

    def fill(self, planner: LoadPlanner, items: Sequence[ReadItem]) -> None:
        """Put the pieces of this file where the planner wants them."""
        spans = sorted({self._span(item) for item in items})
        with owned(self._file, what=self._what):
            pieces = self._pieces(spans)
            with pieces as found:
                for item in items:
                    _put(planner, item, found[self._span(item)])

    def _span(self, item: ReadItem) -> tuple[int, int]:
        place = self._metadata.storage_data[item.storage_index]
        return place.offset, place.offset + place.length

    @contextmanager
    def _pieces(self, spans: Sequence[tuple[int, int]]) -> Iterator[Mapping[tuple[int, int], memoryview]]:
        self._check_spans(spans)
        needed = sum(end - start for start, end in spans)
        if self._file.num_bytes > WHOLE_BELOW_BYTES and needed < WHOLE_FROM * self._file.num_bytes:
            found = self._store.get_ranges(self._file.key, spans)
            pieces = {span: memoryview(data) for span, data in zip(spans, found, strict=True)}
            for piece in pieces.values():
                check_piece(piece, where=f"{self._what}: {self._file.key}")
            yield pieces
            return
        with self._whole() as data:
            if sha256(data).hexdigest() != self._file.sha256:
                raise altered(self._file, "has another checksum than it was written with", what=self._what)
            yield {span: data[slice(*span)] for span in spans}

    def _check_spans(self, spans: Sequence[tuple[int, int]]) -> None:
        size = self._store.head(self._file.key).num_bytes
        if size != self._file.num_bytes:
            raise altered(self._file, f"has {size} bytes instead of {self._file.num_bytes}", what=self._what)
        if spans[-1][1] > size:
            raise altered(self._file, f"ends before its piece at {spans[-1]}", what=self._what)

    @contextmanager
    def _whole(self) -> Iterator[memoryview]:
        path = self._store.local_path(self._file.key)
        if path is None:
            yield memoryview(self._store.get(self._file.key))
            return
        try:
            stream = path.open("rb")
        except FileNotFoundError as exc:
            raise missing(self._file, what=self._what) from exc
        with stream:  # the map lives as long as tensors that lie in it
            yield memoryview(mmap.mmap(stream.fileno(), 0, prot=mmap.PROT_READ))


def _put(planner: LoadPlanner, item: ReadItem, data: memoryview) -> None:
    if item.type == LoadItemType.BYTE_IO:
        planner.load_bytes(item, io.BytesIO(data))
        return
    kept = narrow_tensor_by_index(tensor_in(data), item.storage_offsets, item.lengths)
    room = planner.resolve_tensor(item).detach()
    room.copy_(kept)
    planner.commit_tensor(item, room)
