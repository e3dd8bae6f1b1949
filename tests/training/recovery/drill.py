"""A run that is disturbed: groups of real processes over gloo, of which some are killed, started anew as Ray would."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import threading
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Literal

from tradewind.storage import Store
from tradewind.training.checkpoint import remove_orphans
from tradewind.training.job import Job
from tradewind.training.run import RunFiles

DONE, PREEMPTED, FAILED = 0, 17, 18
ENDS_WITHIN_S = 120.0
"""Far more than a group takes, also where many share the processors; a group that hangs takes longer."""
PRELOAD = (
    "torch",
    "torch._dynamo",
    "torch.distributed.fsdp",
    "torch.distributed.checkpoint",
    "tests.training.recovery.drill",
    "tradewind.training.worker",
)

Blow = Literal["write", "moment", "notice", "none"]


@dataclass(frozen=True)
class Fate:
    """What befalls one rank of a group: killed at its n-th write or after a time, or warned after a time."""

    blow: Blow
    rank: int = 0
    at: float = 0.0


class DoomedStore:
    """A store whose n-th write, or what comes right behind it, the process does not live to see."""

    def __init__(self, store: Store, writes: int, *, before: bool) -> None:
        self._store, self._writes, self._before = store, writes, before

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._store, name)

    def put(self, key: str, data: bytes | Path) -> None:
        self._writes -= 1
        self._die(self._before)
        self._store.put(key, data)
        self._die(not self._before)

    def create(self, key: str, data: bytes) -> None:
        self._writes -= 1
        self._die(self._before)
        self._store.create(key, data)
        self._die(not self._before)

    def _die(self, now: bool) -> None:
        if now and self._writes <= 0:
            os.kill(os.getpid(), signal.SIGKILL)


@dataclass
class Drill:
    job: Job
    folder: Path

    @property
    def files(self) -> RunFiles:
        return RunFiles(self.job.store, self.job.run)

    def group(self, world: int, fate: Fate | None = None) -> list[int | None]:
        """Run one group of ranks to its end and give their exit codes. Raises TimeoutError when one of them hangs."""
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(PRELOAD))
        meeting = self.folder / f"meeting-{time.monotonic_ns()}"
        ranks = [
            context.Process(target=_rank, args=(rank, world, f"file://{meeting}", self.job, fate or Fate("none")))
            for rank in range(world)
        ]
        for rank in ranks:
            rank.start()
        try:
            return _ended(ranks)
        finally:
            for rank in ranks:
                rank.kill()
                rank.join()
            meeting.unlink(missing_ok=True)

    def through(self, worlds: Sequence[int], fates: Sequence[Fate]) -> list[list[int | None]]:
        """A group for each fate, one after the other, then one that is left alone. What dead ones left is removed."""
        codes = [self.group(world, fate) for world, fate in zip(worlds, [*fates, Fate("none")], strict=True)]
        remove_orphans(self.files, quiet_s=0)
        return codes


def plan(seed: int, *, worlds: Sequence[int], moments_s: float) -> list[Fate]:
    """A fate for each group but the last, drawn from a seed. `moments_s` is about what a group takes."""
    dice = random.Random(seed)
    fates = []
    for world in worlds[:-1]:
        blow: Blow = dice.choice(("write", "write", "moment", "notice"))
        at = dice.uniform(1, 24) if blow == "write" else dice.uniform(0.0, moments_s)
        fates.append(Fate(blow, dice.randrange(world), at))
    return fates


def _ended(ranks: Sequence[BaseProcess]) -> list[int | None]:
    until = time.monotonic() + ENDS_WITHIN_S
    for rank in ranks:
        rank.join(max(0.0, until - time.monotonic()))
    if any(rank.is_alive() for rank in ranks):
        raise TimeoutError(f"of {len(ranks)} ranks, some hang: {[rank.exitcode for rank in ranks]}")
    return [rank.exitcode for rank in ranks]


def _rank(rank: int, world: int, meeting: str, job: Job, fate: Fate) -> None:
    import torch
    import torch.distributed as dist

    from tradewind.training import recovery
    from tradewind.training.worker import train

    torch.set_num_threads(1)
    recovery.begin()
    if fate.rank == rank:
        job = _doom(job, fate)
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=world)
    code = DONE
    try:
        train(job)
    except recovery.Preempted:
        code = PREEMPTED
    except Exception as exc:  # noqa: BLE001 - the end of the process
        print(f"rank {rank} of {world}: {''.join(traceback.format_exception(exc)[-4:])}", flush=True)
        code = FAILED
    os._exit(code)  # as SIGKILL of Ray: nobody waits for partners that are gone


def _doom(job: Job, fate: Fate) -> Job:
    from tradewind.training.recovery import interrupt

    if fate.blow == "write":
        doomed: Any = DoomedStore(job.store, int(fate.at), before=int(fate.at * 2) % 2 == 0)
        return replace(job, store=doomed)
    if fate.blow == "moment":
        _after(fate.at, os.kill, os.getpid(), signal.SIGKILL)
    if fate.blow == "notice":
        _after(fate.at, interrupt, "a drill", time.time() + 30)
    return job


def _after(delay_s: float, work: Any, *arguments: Any) -> None:
    timer = threading.Timer(delay_s, work, arguments)
    timer.daemon = True
    timer.start()
