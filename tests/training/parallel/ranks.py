"""Four processes with a gloo group, which stay for all tests.

Most of a process's start is the import of torch: they are forked from one that has imported it and done nothing else.
"""

from __future__ import annotations

import datetime
import faulthandler
import multiprocessing
import multiprocessing.connection
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

WORLD = 4
TIMEOUT_S = 60
START_S = 200
"""A busy machine of two cores has taken a minute to import torch."""


class Ranks:
    def __init__(self, folder: Path) -> None:
        server = multiprocessing.get_context("forkserver")
        server.set_forkserver_preload(["torch.distributed.fsdp", "tradewind.training.parallel"])
        meeting = folder / "ranks"
        meeting.unlink(missing_ok=True)
        self._ends: list[multiprocessing.connection.Connection] = []
        self._processes = []
        for rank in range(WORLD):
            mine, theirs = server.Pipe()
            process = server.Process(target=serve, args=(rank, str(meeting), theirs), daemon=True)
            process.start()
            theirs.close()
            self._ends.append(mine)
            self._processes.append(process)
        self.is_alive = True
        self.runs = 0
        self._answers(START_S)

    def run(self, function: Callable[..., Any], *arguments: Any) -> list[Any]:
        """What `function` gives on each rank. It is a module's function; an error of one rank ends all of them."""
        self.runs += 1
        for end in self._ends:
            end.send((function, arguments))
        return self._answers(TIMEOUT_S)

    def _answers(self, timeout_s: float) -> list[Any]:
        answers: list[Any] = [None] * WORLD
        waiting = dict(enumerate(self._ends))
        while waiting:
            ready = multiprocessing.connection.wait(list(waiting.values()), timeout=timeout_s)
            if not ready:
                self.stop()
                raise AssertionError(f"ranks {sorted(waiting)} gave no answer in {timeout_s} s")
            for rank in [rank for rank, end in waiting.items() if end in ready]:
                answers[rank], failure = waiting.pop(rank).recv()
                if failure:
                    self.stop()
                    raise AssertionError(f"rank {rank}:\n{failure}")
        return answers

    def stop(self) -> None:
        self.is_alive = False
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.join()
        for end in self._ends:
            end.close()


def serve(rank: int, meeting: str, end: multiprocessing.connection.Connection) -> None:
    """Answer calls until the other end is closed."""
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{meeting}",
        rank=rank,
        world_size=WORLD,
        timeout=datetime.timedelta(seconds=TIMEOUT_S),
    )
    end.send((None, None))
    while True:
        try:
            function, arguments = end.recv()
        except EOFError:
            return
        faulthandler.dump_traceback_later(TIMEOUT_S - 5)
        try:
            end.send((function(*arguments), None))
        except BaseException:  # noqa: BLE001 # whatever it is, the test is told
            end.send((None, traceback.format_exc()))
        faulthandler.cancel_dump_traceback_later()
