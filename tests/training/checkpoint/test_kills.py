"""Ranks killed and stores that fail, at any moment: what was acknowledged is there, whole, and nothing hangs.

Every number of a checkpoint is its step, so one that was put together from two steps, or half written, is seen.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from tests.training.checkpoint.crew import record, run_files
from tradewind.errors import StorageError, TradewindError
from tradewind.storage import Store, open_store
from tradewind.storage.object_store import ObjectStore
from tradewind.training.checkpoint import Checkpointer, Keep, TrainingState, load, newest_whole, remove_orphans, resume

pytestmark = pytest.mark.slow

WORLDS = (4, 2, 3, 1, 4, 2)
LONGEST_DELAY_S = 0.4
PATIENCE_S = 120
STEPS = 10_000


class Flaky(ObjectStore):
    """A folder in which a share of the writes fails, before or after it was made."""

    dice = random.Random(0)

    def put(self, key: str, data: bytes | Path) -> None:
        fault = self.dice.random()
        if fault < 0.15:
            raise StorageError(f"no answer to {key}")
        super().put(key, data)
        if fault > 0.85:
            raise StorageError(f"lost the answer to {key}")


def net(value: float) -> nn.Module:
    model = nn.Sequential(*(nn.Linear(64, 64) for _ in range(8)))
    for parameter in model.parameters():
        nn.init.constant_(parameter, value)
    return model


def attempt(rank: int, world: int, meeting: str, url: str, seed: int, victim: int, delay_s: float) -> None:
    """Go on from the newest checkpoint and write one after the other, until somebody dies."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}/store", rank=rank, world_size=world)
    files = run_files(open_store(url))
    model = net(0.0)
    fully_shard(model, mesh=init_device_mesh("cpu", (world,)))
    state = TrainingState([model], [])
    found = resume(files, state)
    first = found.step + 1 if found else 1
    if rank == victim:
        threading.Timer(delay_s, os.kill, (os.getpid(), signal.SIGKILL)).start()
    began = time.monotonic()
    try:
        with Checkpointer(files, f"{seed:08d}", keep=Keep(last=3, best=0), in_use=set) as checkpointer:
            began = time.monotonic()
            for step in range(first, first + STEPS):
                for parameter in model.parameters():
                    nn.init.constant_(parameter, float(step))
                dist.all_reduce(torch.ones(1))
                checkpointer.begin(state.to_save(), record(step))
                if made := checkpointer.wait():
                    Path(meeting, f"acknowledged-{rank}").write_text(str(made.step))
    except (RuntimeError, TradewindError) as exc:
        Path(meeting, f"end-{rank}").write_text(json.dumps([time.monotonic() - began, str(exc)]))
    os._exit(0)  # a lost peer leaves groups that cannot be taken down in order


def play(store: Store, seed: int, world: int) -> int:
    """One attempt in which a rank is killed; gives the step that somebody was told to be safe."""
    dice = random.Random(seed)
    victim, delay_s = dice.randrange(world), dice.random() * LONGEST_DELAY_S
    with tempfile.TemporaryDirectory() as meeting:
        context = multiprocessing.get_context("spawn")
        arguments = [(rank, world, meeting, store.url, seed, victim, delay_s) for rank in range(world)]
        ranks = [context.Process(target=attempt, args=values) for values in arguments]
        for one in ranks:
            one.start()
        for one in ranks:
            one.join(PATIENCE_S)
        hung = [number for number, one in enumerate(ranks) if one.is_alive()]
        for one in ranks:
            one.kill()
        assert hung == [], f"ranks {hung} of {world} hang after rank {victim} was killed at {delay_s:.3f} s"
        assert ranks[victim].exitcode == -signal.SIGKILL
        told = [int(path.read_text() or 0) for path in Path(meeting).glob("acknowledged-*")]
    return max(told, default=0)


def numbers(store: Store) -> tuple[int, set[float]]:
    """The step of the newest checkpoint, and the numbers in it."""
    found, refused = newest_whole(run_files(store))
    assert refused == ()
    if found is None:
        return 0, set()
    state: dict[str, Any] = {"model": net(0.0).state_dict()}
    load(store, found, state, alone=True)
    return found.step, {number for value in state["model"].values() for number in value.unique().tolist()}


def test_whoever_is_killed_whenever_the_newest_checkpoint_is_whole(store: Store) -> None:
    """Seeds are printed by their round; a round takes a few seconds, most of them imports."""
    safe = 0
    for seed, world in enumerate(WORLDS):
        safe = max(safe, play(store, seed, world))
        step, found = numbers(store)
        assert step >= safe, f"round {seed}: step {safe} was acknowledged, and {step} is the newest"
        assert found == ({float(step)} if step else set())
        safe = step
    assert safe > 0
    remove_orphans(run_files(store), quiet_s=0)
    records = run_files(store).checkpoints()
    named = {file.key for one in records for file in one.files} | {
        f"runs/first/checkpoints/{one.step:09d}.json" for one in records
    }
    assert {item.key for item in store.list("runs")} == named
    root = store.local_path("runs")
    assert root
    assert not [path for path in root.rglob("*") if "#" in path.name]


@pytest.mark.parametrize("seed", range(3))
def test_store_that_fails_at_any_moment_keeps_what_was_acknowledged(store: Store, seed: int) -> None:
    assert isinstance(store, ObjectStore)
    flaky = Flaky(store.url, store.open_native, store.folder)
    object.__setattr__(flaky, "dice", random.Random(seed))
    checkpointer, safe, failed = Checkpointer(run_files(flaky), "abcd", in_use=set), 0, 0
    for step in range(1, 30):
        checkpointer.begin({"model": net(float(step)).state_dict()}, record(step))
        try:
            made = checkpointer.wait()
            assert made
            safe = made.step
        except StorageError:
            failed += 1
        step_there, found = numbers(store)
        assert step_there == safe
        assert found == ({float(safe)} if safe else set())
    checkpointer.close()
    assert failed > 0
    assert safe > 0
    remove_orphans(run_files(store), quiet_s=0)
    assert len(store.folders("runs/first/checkpoints")) == len(run_files(store).checkpoints())
