"""Checkpoints while training goes on: what they cost a step, and how fast they are written and read.

    .venv/bin/python benchmarks/checkpoints.py
    .venv/bin/python benchmarks/checkpoints.py --device cuda --parameters 1e9

Beside torch.distributed.checkpoint's `async_save` and `save`, and plain `torch.save` of each rank's part, in the same
process in turn, and the limits of the machine: a copy in memory, a file written and synced. Prints tables, and as its
last line everything as JSON. docs/benchmarks/checkpoints.md has the results; growth.py is about larger ones.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[0] = str(ROOT)  # this file's folder has modules of names that are not meant

from benchmarks.machine import describe_machine

EVERY = 20
"""Steps between checkpoints."""
BLOCKS = 4
"""Blocks of EVERY steps of each kind, in turn."""
LIMIT_S = 1800
COPY_BYTES = 256 * 2**20


def main() -> None:
    arguments = _arguments()
    machine = describe_machine()
    with tempfile.TemporaryDirectory(dir=arguments.work, prefix="checkpoints-") as folder:
        limits = measure_limits(Path(folder))
        overhead = _spawned(measure_overhead, folder, arguments.parameters, arguments.tokens, arguments.device)
        speed = _spawned(measure_speed, folder, arguments.parameters, arguments.device)
    result = {
        "targets": {
            "async checkpoint, share of a step": {
                "value": overhead["ours"]["share_of_medians"],
                "target": 0.05,
                "better": "lower",
            }
        },
        "limits": limits,
        "overhead": overhead,
        "speed": speed,
        "machine": {**machine, "load_after": describe_machine()["load"], **_versions()},
    }
    _print(result)
    print(json.dumps(result))


def measure_limits(folder: Path) -> dict[str, float]:
    """Bytes a second of one processor: the best of five."""
    import torch

    source = torch.ones(COPY_BYTES, dtype=torch.uint8)
    target, data = torch.empty_like(source), source.numpy().data
    file = folder / "limit"

    def write() -> None:
        with file.open("wb", buffering=0) as stream:
            stream.write(data)
            os.fsync(stream.fileno())

    cases: dict[str, Callable[[], Any]] = {
        "copy": lambda: target.copy_(source),
        "sha256": lambda: hashlib.sha256(data).digest(),
        "write and sync": write,
        "read": file.read_bytes,
    }
    return {name: COPY_BYTES / min(_timed(work) for _ in range(5)) for name, work in cases.items()}


def measure_overhead(folder: str, parameters: float, tokens: int, device: str) -> dict[str, Any]:
    """Seconds of EVERY steps with a checkpoint begun before them over those without, and how long the call stopped.

    The least of all blocks is compared, because other work on the machine only adds; medians stand beside it, and the
    processor time of all threads, until everything is written, which is steadier than either.
    """
    model, optimizer, step = _training(parameters, tokens, device)
    for _ in range(3):
        step()
    ways = _ways(folder, model, optimizer)
    for way in ways.values():  # the first of each makes plans and takes memory
        way(0)()
    seconds: dict[str, list[float]] = {}
    stops: dict[str, list[float]] = {}
    waits: dict[str, list[float]] = {}
    processor: dict[str, list[float]] = {}
    turns: list[tuple[str, Callable[[int], Finish]]] = [("none", lambda _: lambda: None), *ways.items()]
    for block in range(1, BLOCKS + 1):
        for name, way in turns[block % len(turns) :] + turns[: block % len(turns)]:  # nobody is always first
            began, used = time.perf_counter(), time.process_time()
            finish = way(block)
            stops.setdefault(name, []).append(time.perf_counter() - began)
            for _ in range(EVERY):
                step()
            ended = time.perf_counter()
            seconds.setdefault(name, []).append(ended - began)
            finish()
            waits.setdefault(name, []).append(time.perf_counter() - ended)
            processor.setdefault(name, []).append(time.process_time() - used)
            shutil.rmtree(Path(folder) / name, ignore_errors=True)
    without, used_without = min(seconds["none"]), median(processor["none"])
    found: dict[str, Any] = {
        name: {
            "seconds": seconds[name],
            "stop_s": median(stops[name]),
            "waited_after_s": median(waits[name]),
            "share": min(seconds[name]) / without - 1,
            "processor_s": processor[name],
            "processor_share": median(processor[name]) / used_without - 1,
            "share_of_medians": median(seconds[name]) / median(seconds["none"]) - 1,
        }
        for name in seconds
    }
    num_bytes = sum(one.nbytes for one in model.parameters()) * 3
    return found | {"step_s": without / EVERY, "state_bytes": num_bytes}


def measure_speed(folder: str, parameters: float, device: str) -> dict[str, Any]:
    """Bytes a second of the whole state, written while nothing else runs, and read back. The best of three."""
    import torch
    from torch.distributed.checkpoint.state_dict_loader import load as dcp_load
    from torch.distributed.checkpoint.state_dict_saver import save as dcp_write

    from tradewind.storage import open_store
    from tradewind.training.checkpoint import Checkpointer, TrainingState, resume
    from tradewind.training.run import RunFiles

    model, optimizer, step = _training(parameters, 64, device)
    step()
    num_bytes = sum(one.nbytes for one in model.parameters()) * 3
    state = TrainingState([model], [optimizer])
    best: dict[str, float] = {}

    def keep(name: str, work: Callable[[], Any]) -> None:
        best[name] = max(best.get(name, 0.0), num_bytes / _timed(work))

    for turn in range(3):
        place = f"{folder}/turn-{turn}"
        files = RunFiles(open_store(place), "speed")
        with Checkpointer(files, "abcd") as checkpointer:
            checkpointer.now(state.to_save(), _record(0), deadline_s=600)  # makes plans and takes memory
            keep("ours, write", partial(checkpointer.now, state.to_save(), _record(1), deadline_s=600))
        keep("ours, read", partial(resume, files, state))
        flat = {name: value for name, value in state.to_save().items() if name != "random"}
        keep("torch DCP, write", partial(dcp_write, flat, checkpoint_id=f"{place}/dcp", no_dist=True))
        keep("torch DCP, read", partial(dcp_load, flat, checkpoint_id=f"{place}/dcp", no_dist=True))
        keep("torch.save", partial(torch.save, flat, f"{place}/plain"))
        keep("torch.load", partial(torch.load, f"{place}/plain", map_location=device))
        shutil.rmtree(place)
    return best | {"state_bytes": num_bytes}


Finish = Callable[[], Any]


def _ways(folder: str, model: Any, optimizer: Any) -> dict[str, Callable[[int], Finish]]:
    """Each way to save: called with the number of the block, gives what waits for the end."""
    import torch
    from torch.distributed.checkpoint.state_dict_saver import async_save, save

    from tradewind.storage import open_store
    from tradewind.training.checkpoint import Checkpointer, TrainingState
    from tradewind.training.run import RunFiles

    state = TrainingState([model], [optimizer])
    checkpointer = Checkpointer(RunFiles(open_store(f"{folder}/ours"), "overhead"), "abcd")

    def flat() -> dict[str, Any]:
        return {name: value for name, value in state.to_save().items() if name != "random"}

    def ours(block: int) -> Finish:
        checkpointer.begin(state.to_save(), _record(block))
        return checkpointer.wait

    def dcp_async(block: int) -> Finish:
        future: Any = async_save(flat(), checkpoint_id=f"{folder}/dcp async_save/{block}", no_dist=True)
        return future.result  # type: ignore[no-any-return]

    def dcp_save(block: int) -> Finish:
        save(flat(), checkpoint_id=f"{folder}/dcp save/{block}", no_dist=True)
        return lambda: None

    def plain(block: int) -> Finish:
        Path(folder, "torch.save").mkdir(exist_ok=True)
        torch.save(flat(), f"{folder}/torch.save/{block}")
        return lambda: None

    return {"ours": ours, "dcp async_save": dcp_async, "dcp save": dcp_save, "torch.save": plain}


def _training(parameters: float, tokens: int, device: str) -> tuple[Any, Any, Callable[[], None]]:
    """Square layers, as many as the parameters make of a width of 1,024, AdamW, and a step on some tokens."""
    import torch
    from torch import nn

    width = 1024 if parameters < 1e9 else 4096
    layers = max(2, round(parameters / width**2))
    torch.manual_seed(0)
    with torch.device(device):
        model = nn.Sequential(
            *(layer for _ in range(layers) for layer in (nn.Linear(width, width, bias=False), nn.ReLU()))
        )
        batch = torch.randn(tokens, width)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, fused=True)

    def step() -> None:
        model(batch).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        if device == "cuda":
            torch.cuda.synchronize()

    return model, optimizer, step


def _record(step: int) -> Any:
    from tradewind.records import CheckpointRecord

    return CheckpointRecord(run="bench", step=step, tokens=step, seconds=1, cpu_seconds=1, loss=1, files=())


def _spawned(work: Callable[..., Any], *arguments: Any) -> Any:
    """What `work(*arguments)` gives in a process of its own, alone in a gloo group. Raises TimeoutError."""
    with tempfile.TemporaryDirectory() as meeting, multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply_async(_in_group, (f"file://{meeting}/store", work, arguments)).get(LIMIT_S)


def _in_group(place: str, work: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    import torch
    import torch.distributed as dist

    warnings.filterwarnings("ignore")
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    dist.init_process_group("gloo", init_method=place, rank=0, world_size=1)
    try:
        return work(*arguments)
    finally:
        dist.destroy_process_group()


def _timed(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _versions() -> dict[str, str]:
    import torch

    chip = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return {"torch": torch.__version__, "chip": chip}


def _print(result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    overhead, console = result["overhead"], Console(width=120)
    title = f"{overhead['state_bytes'] / 1e6:.0f} MB, steps of {overhead['step_s']:.3f} s, a checkpoint every {EVERY}"
    table = Table(
        "", "of step time", "of medians", "of processor time", "call takes s", "waited for afterwards s", title=title
    )
    for name in ("ours", "dcp async_save", "dcp save", "torch.save"):
        one = overhead[name]
        shares = (f"{one[which]:.1%}" for which in ("share", "share_of_medians", "processor_share"))
        table.add_row(name, *shares, f"{one['stop_s']:.3f}", f"{one['waited_after_s']:.2f}")
    console.print(table)
    table = Table("", "GB/s", title="The whole state at once, and limits of the machine")
    for name, value in [*result["speed"].items(), *result["limits"].items()]:
        if name != "state_bytes":
            table.add_row(name, f"{value / 1e9:.2f}")
    console.print(table)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parameters", type=float, default=10e6)
    parser.add_argument("--tokens", type=int, default=512, help="of a step: how long it takes")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--work", type=Path, help="folder on the disk that is to be measured")
    return parser.parse_args()


if __name__ == "__main__":
    main()
