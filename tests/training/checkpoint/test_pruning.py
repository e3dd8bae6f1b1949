from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.checkpoint.crew import record, run_files
from tradewind.errors import SpecError
from tradewind.records import CheckpointRecord
from tradewind.registry import Models
from tradewind.storage import Store, open_store
from tradewind.training.checkpoint import Checkpointer, Keep, prune, remove_orphans
from tradewind.training.checkpoint.pruning import named_by_records

ALL = Keep(last=100)


def made(store: Store, *losses: float | None, attempt: str = "abcd") -> None:
    with Checkpointer(run_files(store), attempt, keep=ALL) as checkpointer:
        for step, loss in enumerate(losses, 1):
            checkpointer.begin({"weight": torch.ones(3)}, record(step, heldout_loss=loss))


def steps(store: Store) -> list[int]:
    return [one.step for one in run_files(store).checkpoints()]


def folders(store: Store) -> list[str]:
    return store.folders("runs/first/checkpoints")


def none_in_use() -> set[str]:
    return set()


def test_newest_and_best_stay(store: Store) -> None:
    made(store, 5, 1, float("nan"), None, 3, 2, 4)
    assert prune(run_files(store), Keep(last=1, best=2), none_in_use) == [1, 3, 4, 5]
    assert steps(store) == [2, 6, 7]
    assert folders(store) == ["000000002-abcd-2", "000000006-abcd-6", "000000007-abcd-7"]


@pytest.mark.parametrize("values", [{"last": 0}, {"best": -1}])
def test_newest_cannot_be_given_up(values: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match="keep_last is"):
        Keep(**values)


def test_one_that_a_model_was_made_from_stays(store: Store) -> None:
    made(store, 5, 4, 3)
    Models(store).add(
        "pilot", {"a": b"b"}, parents=("checkpoint:first/1",), family="llama", parameters=1, context=1,
        heldout_loss=None, card={},
    )  # fmt: skip
    assert "checkpoint:first/1" in named_by_records(store)
    prune(run_files(store), Keep(last=1, best=0), lambda: named_by_records(store))
    assert steps(store) == [1, 3]


def test_one_that_is_named_while_it_goes_comes_back(store: Store) -> None:
    made(store, 5, 4, 3)
    answers = [set[str](), {"checkpoint:first/2"}]
    assert prune(run_files(store), Keep(last=1, best=0), lambda: answers.pop(0)) == [1]
    assert steps(store) == [2, 3]
    assert folders(store) == ["000000002-abcd-2", "000000003-abcd-3"]


def test_damaged_record_stays_with_its_files(store: Store) -> None:
    made(store, 5, 4, 3)
    store.put("runs/first/checkpoints/000000001.json", b"{")
    prune(run_files(store), Keep(last=1, best=0), none_in_use)
    remove_orphans(run_files(store), quiet_s=0)
    assert folders(store) == ["000000001-abcd-1", "000000003-abcd-3"]


def leave_orphan(store: Store, name: str, *, age_s: float) -> None:
    key = f"runs/first/checkpoints/{name}/__0_0.distcp"
    store.put(key, b"half")
    path = store.local_path(key)
    assert path
    for one in (path, path.parent):
        os.utime(one, (time.time() - age_s,) * 2)


def test_files_without_a_record_go_when_they_are_old(store: Store) -> None:
    made(store, 1)
    leave_orphan(store, "000000002-dead", age_s=7200)
    leave_orphan(store, "000000002-live", age_s=60)
    assert remove_orphans(run_files(store)) == ["runs/first/checkpoints/000000002-dead"]
    assert folders(store) == ["000000001-abcd-1", "000000002-live"]


def test_after_the_end_of_a_run_all_files_without_a_record_go(store: Store, tmp_path: Path) -> None:
    made(store, 1)
    leave_orphan(store, "000000002-live", age_s=0)
    folder = tmp_path / "store/runs/first/checkpoints"
    (folder / "000000003-cut").mkdir()
    (folder / "000000003-cut/__0_0.distcp#1").write_bytes(b"ha")
    (folder / "000000003.json#1").write_bytes(b"ha")
    remove_orphans(run_files(store), quiet_s=0)
    assert sorted(path.name for path in folder.iterdir()) == ["000000001-abcd-1", "000000001.json"]


def test_files_of_a_store_that_tells_no_times_stay(store: Store) -> None:
    made(store, 1)
    memory = open_store("memory://timeless")
    files = run_files(memory)
    memory.put(files.key("checkpoints/000000002-dead/x"), b"half")
    assert remove_orphans(files) == []


def test_ids_are_those_of_the_records() -> None:
    assert record(7).id == "checkpoint:first/7"
    assert isinstance(record(7), CheckpointRecord)
