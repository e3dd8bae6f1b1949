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
from multiprocessing.connection import wait
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
NOTICED_WITHIN_S = 5.0
"""Time for ranks to notice that one is lost. Most do at once; of one lost before the group has formed, none does."""
PRELOAD = (
    "pytest",
    "torch",
    "torch._dynamo",
    "torch.distributed.fsdp",
    "torch.distributed.checkpoint",
    "tests.training.recovery.drill",
    "tradewind.training.worker",
)
"""With pytest, the program of the parent, which each process would load again."""

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
    """A fate for each group but the last, drawn from a seed: early enough that some steps are left for the others.

    `moments_s` is about what a group takes for the whole run. Of each step's checkpoint rank 0 writes four files, and
    another rank one.
    """
    dice = random.Random(seed)
    fates = []
    for world in worlds[:-1]:
        blow: Blow = dice.choice(("write", "write", "moment", "notice"))
        rank = dice.randrange(world)
        writes = dice.uniform(1, 4) * (1 if rank else 4)
        fates.append(Fate(blow, rank, writes if blow == "write" else dice.uniform(0.0, 0.6 * moments_s)))
    return fates


def _ended(ranks: Sequence[BaseProcess]) -> list[int | None]:
    """Exit codes, once all ranks have ended. When one has been killed, the others are ended as Ray would, if later."""
    until = time.monotonic() + ENDS_WITHIN_S
    lost_at = None
    while alive := [rank for rank in ranks if rank.is_alive()]:
        wait([rank.sentinel for rank in alive], timeout=0.5)
        if lost_at is None and any(rank.exitcode == -signal.SIGKILL for rank in ranks):
            lost_at = time.monotonic()
        if lost_at is not None and time.monotonic() - lost_at > NOTICED_WITHIN_S:
            for rank in alive:
                rank.kill()
        if time.monotonic() > until:
            raise TimeoutError(f"of {len(ranks)} ranks, some hang: {[rank.exitcode for rank in ranks]}")
    return [rank.exitcode for rank in ranks]


def _rank(rank: int, world: int, meeting: str, job: Job, fate: Fate) -> None:
    import torch
    import torch.distributed as dist

    from tradewind.training import recovery, step_profile
    from tradewind.training.worker import train

    step_profile.FIRST = 0  # looking into a step would take a third of the group's time
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
