"""A worker of a nursery: trains one job after the other that its slot sends, and hears when it shall leave."""

from __future__ import annotations

import os
import pickle
import queue
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from tradewind.records import ProcessName
from tradewind.tuning.outcome import Outcome
from tradewind.tuning.work import Work

ASK_EVERY_S = 0.5
"""How often a trial asks whether it was pruned."""


FOLLOW_EVERY_S = 0.3


@dataclass(frozen=True)
class Birth:
    """What a worker is told first: its slot's environment, and what it will do."""

    environment: dict[str, str]
    folder: str
    work: Work
    threads: int
    driver: ProcessName
    """Who drives the sweep: without it nobody would hear of what is done."""


def serve(connection: Connection) -> None:
    """Work until the slot is gone."""
    birth: Birth = pickle.loads(connection.recv_bytes())  # noqa: S301 - of a slot of the same user
    os.environ.clear()
    os.environ.update(birth.environment)
    os.chdir(birth.folder)
    sys.stdin = open(os.devnull)  # noqa: SIM115, PTH123
    worker = _Worker(birth.work)
    jobs: queue.Queue[bytes] = queue.Queue()
    threading.Thread(target=_listen, args=(connection, jobs), daemon=True).start()
    threading.Thread(target=_follow, args=(birth.driver,), daemon=True).start()
    worker.prepare(birth.threads)
    connection.send_bytes(pickle.dumps(os.getpid()))
    while True:
        outcome = worker.run(pickle.loads(jobs.get()))  # noqa: S301
        connection.send_bytes(pickle.dumps(outcome))


def _listen(connection: Connection, jobs: queue.Queue[bytes]) -> None:
    """Jobs go to the main thread; a wish to leave is passed on at once; without the slot there is nothing to do."""
    from tradewind.training import recovery

    try:
        while True:
            word, *rest = pickle.loads(connection.recv_bytes())  # noqa: S301
            if word == "run":
                jobs.put(rest[0])
            else:
                recovery.interrupt(*rest)
    except (EOFError, OSError):
        os._exit(0)


def _follow(driver: ProcessName) -> None:
    """End soon after the driver, sooner than Ray does: the next one may give the trial to another worker at once."""
    from tradewind.clusters import is_gone

    while not is_gone(driver):
        time.sleep(FOLLOW_EVERY_S)
    os._exit(0)


class _Worker:
    def __init__(self, work: Work) -> None:
        self._work = work
        self._function = work.load()

    def prepare(self, threads: int) -> None:
        if self._work.groups:
            import torch

            from tradewind.training.parallel.network import use_network

            torch.set_num_threads(threads)
            use_network("127.0.0.1", cuda=torch.cuda.is_available())

    def run(self, job: Any) -> Outcome:
        """Train a job to its end. Whatever it raises is in the answer."""
        from tradewind.clusters import notices
        from tradewind.training import control, recovery, watchdog
        from tradewind.training.logs import RunLog
        from tradewind.training.run import RunFiles

        control.ASK_EVERY_S = ASK_EVERY_S
        recovery.begin()
        began = time.monotonic()
        hang: list[BaseException] = []
        try:
            with RunLog(RunFiles(job.store, job.run), 0), watchdog.watching(hang.append):
                self._apart(job, hang)
        except recovery.Preempted as exc:
            noticed = notices.current() is not None
            return Outcome("left", exc.message, seconds=time.monotonic() - began, noticed=noticed)
        except Exception as exc:  # noqa: BLE001 - an end of the trial, which the driver judges
            return _failed(exc, time.monotonic() - began)
        return Outcome("done", seconds=time.monotonic() - began)

    def _apart(self, job: Any, hang: list[BaseException]) -> None:
        """Run the work in a thread of its own, so that one that hangs does not keep the worker from saying so."""
        raised: list[BaseException] = []

        def work() -> None:
            try:
                with _process_group(needed=self._work.groups):
                    self._function(job)
            except BaseException as exc:  # noqa: BLE001 - handed to the waiting thread
                raised.append(exc)

        thread = threading.Thread(target=work, name=job.run, daemon=True)
        thread.start()
        while thread.is_alive() and not hang:
            thread.join(0.05)
        for exc in (*raised, *hang):
            raise exc


class _process_group:  # noqa: N801 - reads as a block
    """A group of one rank around a trial, on the slot's chip where it has one."""

    def __init__(self, *, needed: bool) -> None:
        self._needed = needed

    def __enter__(self) -> None:
        if not self._needed:
            return
        import torch
        import torch.distributed as dist

        backend = "nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(backend, store=torch._C._distributed_c10d.HashStore(), rank=0, world_size=1)

    def __exit__(self, *_: object) -> None:
        if self._needed:
            import torch.distributed as dist

            dist.destroy_process_group()


def _failed(exc: Exception, seconds: float) -> Outcome:
    from tradewind.errors import TradewindError
    from tradewind.training.recovery import HangError

    lines = traceback.format_exception(exc)
    text = exc.message if isinstance(exc, TradewindError) else f"{type(exc).__name__}: {exc}"
    return Outcome(
        "failed",
        text,
        log=tuple("".join(lines).rstrip().splitlines()[-12:]),
        may_retry=not isinstance(exc, TradewindError) or exc.remedy != "fix",
        seconds=seconds,
        is_stuck=isinstance(exc, HangError),
    )
