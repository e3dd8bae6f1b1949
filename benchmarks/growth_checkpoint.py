"""A state that all ranks share, checkpointed and loaded, for several sizes, numbers of tensors and ranks."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from typing import Any

from benchmarks.growth_start import spawned

TENSORS = 256
CASES = (
    *((1, num_bytes, TENSORS) for num_bytes in (16e6, 64e6, 256e6)),
    *((1, 16e6, tensors) for tensors in (1024, 4096)),
    *((2, num_bytes, TENSORS) for num_bytes in (16e6, 64e6, 256e6)),
    *((4, num_bytes, TENSORS) for num_bytes in (64e6, 256e6)),
    (8, 256e6, TENSORS),
)
"""Ranks, bytes of the whole state, and its tensors."""


def measure_checkpoints(folder: str, most_ranks: int) -> list[dict[str, Any]]:
    worlds = sorted({ranks for ranks, _, _ in CASES if ranks <= most_ranks})
    return [case for world in worlds for case in spawned(world, _cases, folder)[0]]


def _cases(rank: int, world: int, place: str, folder: str) -> list[dict[str, Any]]:
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=place, rank=rank, world_size=world)
    return [_case(folder, num_bytes, tensors) for ranks, num_bytes, tensors in CASES if ranks == world]


def _case(folder: str, num_bytes: float, tensors: int) -> dict[str, Any]:
    """Seconds of each part of a checkpoint, the second of two but for `first_s`: plans are made once."""
    import torch.distributed as dist

    from tradewind.storage import open_store
    from tradewind.training.checkpoint import Checkpointer, load
    from tradewind.training.run import RunFiles

    rank, world = dist.get_rank(), dist.get_world_size()
    name, state = f"growth-{world}-{num_bytes:.0f}-{tensors}", _sharded(num_bytes, tensors)
    files = RunFiles(open_store(f"{folder}/{name}"), "growth")
    with Checkpointer(files, "abcd") as checkpointer:
        first_s = _timed(lambda: checkpointer.begin(state, _record(1)))
        checkpointer.wait()
        dist.barrier()
        stop_s = _timed(lambda: checkpointer.begin(state, _record(2)))
        began = time.perf_counter()
        made = checkpointer.wait()
        write_s = time.perf_counter() - began
        closing_s = checkpointer.pace.closing_s
    assert made
    dist.barrier()
    load_s = _timed(lambda: load(files.store, made, state))
    dist.barrier()
    if rank == 0:
        shutil.rmtree(f"{folder}/{name}")
    return {
        "ranks": world,
        "bytes": num_bytes,
        "tensors": tensors,
        "first_s": first_s,
        "stop_s": stop_s,
        "write_s": write_s - closing_s,
        "closing_s": closing_s,
        "load_s": load_s,
    }


def _sharded(num_bytes: float, tensors: int) -> dict[str, Any]:
    import torch
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import DTensor, Shard

    world = dist.get_world_size()
    mesh = init_device_mesh("cpu", (world,))
    rows = max(1, round(num_bytes / tensors / 4 / 64 / world))
    parts = [torch.full((rows, 64), float(number)) for number in range(tensors)]
    return {f"weight-{number}": DTensor.from_local(part, mesh, [Shard(0)]) for number, part in enumerate(parts)}


def _record(step: int) -> Any:
    from tradewind.records import CheckpointRecord

    return CheckpointRecord(run="bench", step=step, tokens=step, seconds=1, cpu_seconds=1, loss=1, files=())


def _timed(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
