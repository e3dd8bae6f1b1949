"""The metadata of many ranks, made in one process: read whole by torch, and in parts by us."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import pytest
import torch
from torch.distributed.checkpoint.filesystem import _StorageInfo
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)

from tests.training.checkpoint.crew import record
from tests.training.checkpoint.test_outline import met, rows, thing, whole
from tradewind.errors import IntegrityError
from tradewind.records import CheckpointRecord, StoredFile
from tradewind.storage import Store
from tradewind.storage.object_store import ObjectStore
from tradewind.training.checkpoint import contents
from tradewind.training.checkpoint.contents import assembled, packed, read_contents
from tradewind.training.checkpoint.outline import written_by

WORLD, KEY = 16, "runs/first/checkpoints/000000010-abcd/.metadata"
PLANS = [
    [rows("matrix", (64, 2), rank, WORLD), whole("bias", (3,)), whole("step", ()), thing("word")]
    for rank in range(WORLD)
]


def places(rank: int, items: Any) -> dict[MetadataIndex, tuple[str, int, int]]:
    return {item.index: (f"__{rank}_0.distcp", 64 * number, 60) for number, item in enumerate(items)}


def metadata() -> bytes:
    outline = met(PLANS)
    written = [places(rank, written_by(rank, items, outline)) for rank, items in enumerate(PLANS)]
    return assembled(outline, [packed(one) for one in written])


@dataclass(frozen=True)
class Wanted:
    """Rows of the matrix that a rank of another world needs."""

    first: int
    count: int
    shape: tuple[int, ...] = (64, 2)

    def dim(self) -> int:
        return len(self.shape)

    def __create_chunk_list__(self) -> list[ChunkStorageMetadata]:
        return [ChunkStorageMetadata(torch.Size((self.first, 0)), torch.Size((self.count, 2)))]


class Counted(ObjectStore):
    """Counts the bytes that are read."""

    def get_ranges(self, key: str, ranges: Any) -> list[bytes]:
        found = super().get_ranges(key, ranges)
        READ.extend(found)
        return found


READ: list[bytes] = []


def stored(store: Store, data: bytes) -> tuple[Counted, CheckpointRecord]:
    assert isinstance(store, ObjectStore)
    store.put(KEY, data)
    file = StoredFile(key=KEY, sha256=sha256(data).hexdigest(), num_bytes=len(data))
    READ.clear()
    return Counted(store.url, store.open_native, store.folder), record(10, files=(file,))


@pytest.fixture(params=["whole", "in parts"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "in parts":
        monkeypatch.setattr(contents, "WHOLE_BELOW_BYTES", 0)
        monkeypatch.setattr(contents, "TAIL_BYTES", 64)
    return str(request.param)


def test_torch_unpickles_the_places_of_all_pieces() -> None:
    found = pickle.loads(metadata())
    assert isinstance(found, Metadata)
    assert len(found.storage_data) == WORLD + 3
    assert found.storage_data[MetadataIndex("matrix", (8, 0))] == _StorageInfo("__2_0.distcp", 0, 60)
    assert found.planner_data["matrix"] == ("matrix",)


def test_no_name_of_ours_is_in_the_file() -> None:
    assert b"tradewind" not in metadata()


@pytest.mark.parametrize(("first", "count", "ranks"), [(8, 4, {2}), (0, 9, {0, 1, 2}), (7, 2, {1, 2}), (5, 0, set())])
def test_only_places_of_pieces_that_overlap_are_read(
    store: Store, way: str, first: int, count: int, ranks: set[int]
) -> None:
    found = read_contents(*stored(store, metadata())).of({"matrix": Wanted(first, count)})
    matrix = found.state_dict_metadata["matrix"]
    assert isinstance(matrix, TensorStorageMetadata)
    assert {chunk.offsets[0] // 4 for chunk in matrix.chunks} == ranks
    read = {index for index in found.storage_data if index.fqn == "matrix"}
    assert {index.offset[0] // 4 for index in read if index.offset} == ranks


def test_pieces_of_all_kinds_are_found(store: Store, way: str) -> None:
    there = read_contents(*stored(store, metadata()))
    assert set(there.kept) == {"matrix", "bias", "step", "word"}
    found = there.of({"bias": torch.zeros(3), "step": torch.tensor(0.0), "word": ""})
    for index in (MetadataIndex("bias", (0,)), MetadataIndex("step", ()), MetadataIndex("word")):
        assert index in found.storage_data


def test_of_a_large_file_little_is_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "WHOLE_BELOW_BYTES", 0)
    monkeypatch.setattr(contents, "TAIL_BYTES", 1024)
    plans = [[rows(f"weight-{number}", (640, 2), rank, 64) for number in range(40)] for rank in range(64)]
    outline = met(plans)
    data = assembled(outline, [packed(places(rank, items)) for rank, items in enumerate(plans)])
    read_contents(*stored(store, data)).of({"weight-3": Wanted(300, 10, (640, 2))})
    assert sum(map(len, READ)) < len(data) / 5


@pytest.mark.parametrize("share", [0.999, 0.9, 0.5, 0.2])
def test_altered_byte_that_is_needed_is_found(store: Store, way: str, share: float) -> None:
    data = bytearray(metadata())
    files, made = stored(store, bytes(data))
    span = (0, len(data))
    data[int(share * (span[1] - 1))] ^= 1
    files.put(KEY, bytes(data))
    everything = {"matrix": Wanted(0, 64), "bias": torch.zeros(3), "step": torch.tensor(0.0), "word": ""}
    if way == "in parts" and share < 0.3:
        read_contents(files, made).of(everything)  # that is for torch's reader, and nobody has read it
        return
    with pytest.raises(IntegrityError, match=KEY):
        read_contents(files, made).of(everything)


def test_truncated_file_is_refused(store: Store, way: str) -> None:
    data = metadata()
    files, made = stored(store, data)
    files.put(KEY, data[:-1])
    with pytest.raises(IntegrityError, match=KEY):
        read_contents(files, made)


def test_metadata_of_earlier_versions_is_read(store: Store, way: str) -> None:
    chunks = [ChunkStorageMetadata(torch.Size((0, 0)), torch.Size((64, 2)))]
    kept: Any = {"matrix": TensorStorageMetadata(TensorProperties(torch.float32), torch.Size((64, 2)), chunks)}
    places = {MetadataIndex("matrix", (0, 0)): _StorageInfo("__0_0.distcp", 0, 60)}
    found = read_contents(*stored(store, pickle.dumps(Metadata(kept, storage_data=places))))
    assert found.of({"matrix": Wanted(3, 4)}).storage_data == places


def test_checkpoint_without_metadata_is_refused(store: Store) -> None:
    with pytest.raises(IntegrityError, match=r"names no \.metadata"):
        read_contents(store, record(10))
