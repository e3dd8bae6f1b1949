"""Ranks of a process group, each in a process of its own that stays for all tests: importing torch takes seconds."""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


@dataclass
class Ranks:
    processes: list[ProcessPoolExecutor]
    folder: Path

    def run(self, work: Callable[..., Any], *arguments: Any, world: int) -> list[Any]:
        """What `work(*arguments)` gives on each rank of a new gloo group. Raises what the first failing rank raised."""
        with tempfile.TemporaryDirectory(dir=self.folder) as meeting:
            place = f"file://{meeting}/store"
            answers = [
                process.submit(_in_group, rank, world, place, work, arguments)
                for rank, process in enumerate(self.processes[:world])
            ]
            return [answer.result(timeout=120) for answer in answers]


@pytest.fixture(scope="session")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ranks]:
    spawn = multiprocessing.get_context("spawn")
    with ExitStack() as stack:
        processes = [stack.enter_context(ProcessPoolExecutor(1, mp_context=spawn)) for _ in range(4)]
        yield Ranks(processes, tmp_path_factory.mktemp("ranks"))


def _in_group(rank: int, world: int, place: str, work: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=place, rank=rank, world_size=world)
    try:
        return work(*arguments)
    finally:
        dist.destroy_process_group()
