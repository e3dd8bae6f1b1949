"""Checkpoints of two ranks, each of which holds half of a matrix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.state_dict_loader import load as load_by_torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

from tests.training.checkpoint.saving import save_parts
from tests.training.conftest import Ranks
from tradewind.errors import IntegrityError, StorageError
from tradewind.records import CheckpointRecord, StoredFile
from tradewind.storage import Store, open_store
from tradewind.storage.object_store import ObjectStore
from tradewind.training import checkpoint

PREFIX = "runs/first/checkpoints/000000010-abcd"
MATRIX = torch.arange(7 * 5, dtype=torch.float32).reshape(7, 5)
pytestmark = pytest.mark.slow


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


def record(files: tuple[StoredFile, ...]) -> CheckpointRecord:
    return CheckpointRecord(
        run="first", step=10, tokens=1, seconds=1, cpu_seconds=1, loss=1, heldout_loss=1, files=files
    )


def sharded(matrix: torch.Tensor) -> Any:
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    return {"matrix": distribute_tensor(matrix, mesh, [Shard(0)]), "step": 10, "parts": {"bias": torch.arange(3.0)}}


def save(store: Store) -> tuple[StoredFile, ...]:
    return save_parts(store, PREFIX, sharded(MATRIX))


def load(store: Store, made: CheckpointRecord) -> tuple[list[list[float]], int, list[float]]:
    state = sharded(torch.zeros(7, 5))
    state["step"], state["parts"]["bias"] = 0, torch.zeros(3)
    checkpoint.load(store, made, state)
    return state["matrix"].full_tensor().tolist(), state["step"], state["parts"]["bias"].tolist()


def saved(ranks: Ranks, store: Store, *, world: int = 2) -> CheckpointRecord:
    lists = ranks.run(save, store, world=world)
    assert lists == [lists[0]] * world
    return record(lists[0])


def test_every_rank_knows_all_files_with_their_checksums(ranks: Ranks, store: Store) -> None:
    made = saved(ranks, store)
    assert {file.key for file in made.files} == {item.key for item in store.list("runs")}
    assert sorted(file.key.removeprefix(f"{PREFIX}/") for file in made.files) == [
        ".metadata",
        "__0_0.distcp",
        "__1_0.distcp",
    ]
    assert all(len(store.get(file.key)) == file.num_bytes for file in made.files)


@pytest.mark.parametrize(("before", "after"), [(2, 2), (2, 1), (1, 2), (1, 1)])
def test_state_comes_back_on_any_number_of_ranks(ranks: Ranks, store: Store, before: int, after: int) -> None:
    made = saved(ranks, store, world=before)
    assert ranks.run(load, store, made, world=after) == [(MATRIX.tolist(), 10, [0, 1, 2])] * after


def test_state_comes_back_alone_without_a_process_group(ranks: Ranks, store: Store) -> None:
    made = saved(ranks, store)
    state = {"matrix": torch.zeros(7, 5)}
    checkpoint.load(store, made, state, alone=True)
    assert torch.equal(state["matrix"], MATRIX)


def harm(store: Store, key: str, how: str) -> None:
    data = store.get(key)
    if how == "missing":
        store.delete(key)
    else:
        store.put(key, {"altered": bytes([data[0] ^ 1]) + data[1:], "truncated": data[:-1], "empty": b""}[how])


@pytest.mark.parametrize("how", ["altered", "truncated", "empty", "missing"])
@pytest.mark.parametrize("name", [".metadata", "__0_0.distcp", "__1_0.distcp"])
def test_damaged_file_is_named(ranks: Ranks, store: Store, name: str, how: str) -> None:
    made = saved(ranks, store)
    harm(store, f"{PREFIX}/{name}", how)
    for read in (
        lambda: ranks.run(load, store, made, world=2),
        lambda: checkpoint.load(store, made, {"matrix": torch.zeros(7, 5)}, alone=True),
    ):
        with pytest.raises(IntegrityError) as caught:
            read()
        assert f"{PREFIX}/{name}" in caught.value.message


def test_error_of_one_rank_is_raised_on_all(ranks: Ranks, store: Store) -> None:
    made = saved(ranks, store)
    harm(store, f"{PREFIX}/__1_0.distcp", "altered")
    assert ranks.run(outcome, store, made, world=2) == ["IntegrityError", "IntegrityError"]


def outcome(store: Store, made: CheckpointRecord) -> str:
    try:
        load(store, made)
    except Exception as exc:  # noqa: BLE001
        return type(exc).__name__
    return "nothing"


def test_file_that_the_record_does_not_name_is_not_read(ranks: Ranks, store: Store) -> None:
    made = saved(ranks, store)
    fewer = made.model_copy(update={"files": tuple(file for file in made.files if "__1_0" not in file.key)})
    with pytest.raises(IntegrityError, match=r"does not name its file __1_0\.distcp") as caught:
        checkpoint.load(store, fewer, {"matrix": torch.zeros(7, 5)}, alone=True)
    assert caught.value.hint == "use an earlier checkpoint"


class FullStore(ObjectStore):
    def put(self, key: str, data: bytes | Path) -> None:
        raise StorageError(f"no room left to write {key}")

    def __reduce__(self) -> tuple[Any, ...]:
        return FullStore, (self.url, self.open_native, self.folder)


def test_store_without_room_is_a_storage_error(ranks: Ranks, store: Store) -> None:
    assert isinstance(store, ObjectStore)
    with pytest.raises(StorageError, match="no room left"):
        ranks.run(save, FullStore(store.url, store.open_native, store.folder), world=2)


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled")
def test_torch_reads_the_files_by_itself(ranks: Ranks, store: Store) -> None:
    made = saved(ranks, store)
    folder = store.local_path(PREFIX)
    assert folder
    assert made.files
    state: dict[str, Any] = {"matrix": torch.zeros(7, 5), "step": 0, "parts": {"bias": torch.zeros(3)}}
    load_by_torch(state, storage_reader=FileSystemReader(folder), no_dist=True)
    assert torch.equal(state["matrix"], MATRIX)
    assert (state["step"], state["parts"]["bias"].tolist()) == (10, [0, 1, 2])


@pytest.fixture
def large(store: Store) -> CheckpointRecord:
    """One file of 12 MiB, of three tensors."""
    return record(save_parts(store, PREFIX, {name: torch.full((2**20,), 1.0) for name in "abc"}))


def flip(store: Store, key: str, place: int) -> None:
    data = bytearray(store.get(key))
    data[place] ^= 1
    store.put(key, bytes(data))


def test_of_a_large_file_only_what_is_needed_is_read_and_checked(store: Store, large: CheckpointRecord) -> None:
    flip(store, f"{PREFIX}/__0_0.distcp", 10 * 2**20)
    state = {"a": torch.zeros(2**20)}
    checkpoint.load(store, large, state, alone=True)
    assert torch.equal(state["a"], torch.ones(2**20))
    with pytest.raises(IntegrityError, match="has another checksum than it was written with"):
        checkpoint.load(store, large, {"c": torch.zeros(2**20)}, alone=True)
    with pytest.raises(IntegrityError, match="has another checksum than it was written with"):
        checkpoint.load(store, large, {name: torch.zeros(2**20) for name in "abc"}, alone=True)
