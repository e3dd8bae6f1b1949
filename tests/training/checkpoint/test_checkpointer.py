from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from tests.training.checkpoint.crew import record, run_files
from tests.training.conftest import Ranks
from tradewind.errors import CapacityError, StorageError, TradewindError
from tradewind.records import CheckpointRecord
from tradewind.storage import Store
from tradewind.storage.object_store import ObjectStore
from tradewind.training.checkpoint import Checkpointer, Keep, load
from tradewind.training.checkpoint.checkpointer import Pace

SHAPE = (5, 3)


class Faulty(ObjectStore):
    """A folder in which the writes of one rank fail, or wait for each other."""

    rank = -1
    error: type[TradewindError] = StorageError
    gate: threading.Event | None = None

    def put(self, key: str, data: bytes | Path) -> None:
        if f"/__{self.rank}_" in key:
            if self.gate is None:
                raise self.error(f"no room left to write {key}", hint="free some space")
            assert self.gate.wait(60)
        super().put(key, data)


def faulty(store: Store, rank: int = 0, error: type[TradewindError] = StorageError) -> Faulty:
    assert isinstance(store, ObjectStore)
    made = Faulty(store.url, store.open_native, store.folder)
    object.__setattr__(made, "rank", rank)
    object.__setattr__(made, "error", error)
    return made


def gated(store: Store) -> tuple[Faulty, threading.Event]:
    made, gate = faulty(store), threading.Event()
    object.__setattr__(made, "gate", gate)
    return made, gate


def state(value: float) -> dict[str, Any]:
    return {"model": {"weight": torch.full(SHAPE, value)}}


def read(store: Store, made: CheckpointRecord) -> torch.Tensor:
    found = state(0)
    load(store, made, found, alone=True)
    weight: torch.Tensor = found["model"]["weight"]
    return weight


def keys(store: Store) -> list[str]:
    return sorted(item.key.removeprefix("runs/first/checkpoints/") for item in store.list("runs"))


def test_state_may_change_as_soon_as_begin_returns(store: Store) -> None:
    held, gate = gated(store)
    weights = state(1)
    with Checkpointer(run_files(held), "abcd") as checkpointer:
        checkpointer.begin(weights, record(1))
        assert not checkpointer.is_over
        weights["model"]["weight"].fill_(2)
        gate.set()
        made = checkpointer.wait()
    assert made is not None
    assert (made.attempt, made.world) == ("abcd", 1)
    assert torch.equal(read(store, made), torch.full(SHAPE, 1.0))


def test_record_comes_last(store: Store) -> None:
    held, gate = gated(store)
    with Checkpointer(run_files(held), "abcd") as checkpointer:
        checkpointer.begin(state(1), record(1))
        assert keys(store) == []
        gate.set()
    assert keys(store) == ["000000001-abcd-1/.metadata", "000000001-abcd-1/__0_0.distcp", "000000001.json"]


def test_second_one_waits_for_the_first(store: Store) -> None:
    held, gate = gated(store)
    with Checkpointer(run_files(held), "abcd") as checkpointer:
        checkpointer.begin(state(1), record(1))
        timer = threading.Timer(0.2, gate.set)
        timer.start()
        checkpointer.begin(state(2), record(2))
        assert "000000001.json" in keys(store)
        timer.join()
    first, second = run_files(store).checkpoints()
    assert torch.equal(read(store, first), torch.full(SHAPE, 1.0))
    assert torch.equal(read(store, second), torch.full(SHAPE, 2.0))


def test_each_checkpoint_is_given_once(store: Store) -> None:
    with Checkpointer(run_files(store), "abcd") as checkpointer:
        checkpointer.begin(state(1), record(1))
        while not checkpointer.is_over:
            threading.Event().wait(0.001)
        made = checkpointer.wait()
        assert made is not None
        assert made.step == 1
        assert not checkpointer.is_over
        assert checkpointer.wait() is None


def test_state_of_other_shapes_is_planned_anew(store: Store) -> None:
    with Checkpointer(run_files(store), "abcd") as checkpointer:
        checkpointer.begin(state(1), record(1))
        checkpointer.begin({"model": {"weight": torch.ones(2), "more": torch.ones(3)}, "word": "x" * 500}, record(2))
    found: dict[str, Any] = {"model": {"weight": torch.zeros(2), "more": torch.zeros(3)}, "word": ""}
    load(store, run_files(store).checkpoints()[1], found, alone=True)
    assert (found["model"]["more"].tolist(), found["word"]) == ([1, 1, 1], "x" * 500)


def test_failed_one_leaves_the_one_before_and_nothing_of_its_own(store: Store) -> None:
    with Checkpointer(run_files(store), "abcd") as checkpointer:
        checkpointer.begin(state(1), record(1))
    before = keys(store)
    checkpointer = Checkpointer(run_files(faulty(store, error=CapacityError)), "efgh")
    checkpointer.begin(state(2), record(2))
    with pytest.raises(CapacityError, match="step 2 was not made; 1 of 1 ranks could not write, rank 0: no room left"):
        checkpointer.wait()
    checkpointer.close()
    assert keys(store) == before
    assert [one.step for one in run_files(store).checkpoints()] == [1]


def test_another_record_of_the_step_with_the_same_samples_is_kept(store: Store) -> None:
    for attempt in ("abcd", "efgh"):
        with Checkpointer(run_files(store), attempt) as checkpointer:
            checkpointer.begin(state(1), record(1, certificate="00"))
    assert [one.attempt for one in run_files(store).checkpoints()] == ["abcd"]
    assert not [key for key in keys(store) if "efgh" in key]


def test_record_of_steps_that_were_undone_is_set_aside(store: Store) -> None:
    for attempt, certificate in (("abcd", "00"), ("efgh", "01")):
        with Checkpointer(run_files(store), attempt) as checkpointer:
            checkpointer.begin(state(1), record(1, certificate=certificate))
    assert [one.attempt for one in run_files(store).checkpoints()] == ["efgh"]
    assert "000000001.json.refused" in keys(store)


def test_now_writes_before_it_returns(store: Store) -> None:
    with Checkpointer(run_files(store), "abcd") as checkpointer:
        made = checkpointer.now(state(1), record(1), deadline_s=60)
        assert made is not None
        assert torch.equal(read(store, made), torch.full(SHAPE, 1.0))


def test_now_gives_the_one_of_this_step_that_is_there(store: Store) -> None:
    with Checkpointer(run_files(store), "abcd") as checkpointer:
        checkpointer.begin(state(1), record(1))
        made = checkpointer.now(state(2), record(1), deadline_s=60)
    assert made is not None
    assert torch.equal(read(store, made), torch.full(SHAPE, 1.0))


def test_files_of_a_step_that_comes_again_do_not_meet(store: Store) -> None:
    with Checkpointer(run_files(store), "abcd") as checkpointer:
        checkpointer.begin(state(1), record(1, certificate="00"))
        checkpointer.begin(state(2), record(1, certificate="01"))
    (made,) = run_files(store).checkpoints()
    assert torch.equal(read(store, made), torch.full(SHAPE, 2.0))
    assert store.folders("runs/first/checkpoints") == ["000000001-abcd-1", "000000001-abcd-2"]


def test_now_skips_what_cannot_be_done_in_time(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    with Checkpointer(run_files(store), "abcd") as checkpointer:
        checkpointer.pace = Pace(bytes_per_s=10.0)
        assert checkpointer.now(state(1), record(1), deadline_s=60) is None
    assert "no checkpoint at step 1: " in capsys.readouterr().err
    assert keys(store) == []


def test_now_gives_up_at_the_deadline(store: Store) -> None:
    with Checkpointer(run_files(store), "abcd") as checkpointer:
        assert checkpointer.now(state(1), record(1), deadline_s=1e-6) is None
    assert keys(store) == []


def test_now_does_not_wait_for_one_that_is_stuck(store: Store) -> None:
    held, gate = gated(store)
    with Checkpointer(run_files(held), "abcd") as checkpointer:
        checkpointer.begin(state(1), record(1))
        assert checkpointer.now(state(2), record(2), deadline_s=0.05) is None
        gate.set()
    assert [one.step for one in run_files(store).checkpoints()] == [1]


def test_old_ones_go_when_the_new_one_is_there(store: Store) -> None:
    with Checkpointer(run_files(store), "abcd", keep=Keep(last=2, best=1)) as checkpointer:
        for step, loss in enumerate([5.0, 1.0, 4.0, 3.0, 2.0], 1):
            checkpointer.begin(state(step), record(step, heldout_loss=loss))
    assert [one.step for one in run_files(store).checkpoints()] == [2, 4, 5]
    assert {key[:9] for key in keys(store)} == {"000000002", "000000004", "000000005"}


def told(store: Store, broken: int) -> tuple[int, str]:
    """The step at which a rank hears that one of them cannot write, and what it hears."""
    parts = {f"part-{number}": torch.ones(SHAPE) for number in range(6)}  # replicas, so each rank writes two
    checkpointer = Checkpointer(run_files(faulty(store, broken)), "abcd")
    try:
        checkpointer.begin(parts, record(1))
        for step in range(2000):
            over = torch.tensor(float(checkpointer.is_over))
            dist.all_reduce(over, dist.ReduceOp.MIN)
            time.sleep(0.001 * dist.get_rank())
            try:
                if over:
                    checkpointer.wait()
            except StorageError as exc:
                return step, exc.message
        return -1, ""
    finally:
        checkpointer.close()


@pytest.mark.slow
def test_error_of_one_rank_is_raised_on_all_at_the_same_step(ranks: Ranks, store: Store) -> None:
    first, *others = ranks.run(told, store, 2, world=3)
    assert others == [first] * 2
    assert "1 of 3 ranks could not write, rank 2: no room left to write" in first[1]
    assert keys(store) == []
