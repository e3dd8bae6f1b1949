"""Batches of a model that computes many inputs about as fast as one: ours beside Ray Serve's, and none.

    python benchmarks/batching.py
    python benchmarks/batching.py --width 512 --seconds 3

The model is two matrices in numpy, in a thread. `alone` asks it one input after the other, `ours` through `Batcher`,
`serve` through `@serve.batch` with its defaults (10 inputs, 10 ms), `serve0` with 64 inputs and no waiting, which is
the best that it can do. All take turns in each round in one process; a figure is the median of its rounds.
`@serve.batch` asks for the context of a replica, made up here: outside of a deployment it raises RayServeException.

- `idle_ms`: median of one client that asks, waits, asks again. `over_alone_ms` is what batching adds to that.
- `full_per_s`: inputs a second of `--clients` that do the same at once. `times_alone` is that beside `alone`.
- `deadlines`: requests come by chance (Poisson) at a share of what `ours` answers when it is full, each with
  `--deadline-ms`. `in_time` were answered before, `late` after or not, `refused` at once. Of `serve`, which knows no
  deadline, every answer counts that comes.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy is imported

import argparse
import asyncio
import json
import random
import sys
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import uvloop

sys.path[0] = str(Path(__file__).parents[1])  # this file's folder has modules of names that are not meant

from benchmarks.machine import describe_machine, load
from tradewind.engines.predict.batch_times import BatchTimes
from tradewind.engines.predict.batcher import Batcher, BusyError, LateError

SHARES = (0.5, 0.8, 1.5)
NAMES = ("alone", "ours", "serve", "serve0")
CLIENTS = 128
"""The target beside the model alone is for so many."""
Ask = Callable[[Any, float], Awaitable[Any]]


class Model:
    """`width` numbers to as many, through four times as many."""

    def __init__(self, width: int) -> None:
        chance = np.random.default_rng(0)
        self.first = chance.standard_normal((width, 4 * width), dtype=np.float32)
        self.second = chance.standard_normal((4 * width, width), dtype=np.float32)
        self.thread = ThreadPoolExecutor(1)

    def predict(self, batch: list[Any]) -> list[Any]:
        return list(np.maximum(np.stack(batch) @ self.first, 0) @ self.second)

    async def run(self, batch: list[Any]) -> list[Any]:
        return await asyncio.get_running_loop().run_in_executor(self.thread, self.predict, batch)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--clients", type=int, default=CLIENTS)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each figure in each round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--deadline-ms", type=float, default=50.0)
    given = parser.parse_args()
    found = uvloop.run(measured(given))
    print(json.dumps({"targets": targets(found), **found}))


def targets(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    told = {"over_alone_ms": _target(found["over_alone_ms"], 2.0, "lower")}
    if found["settings"]["clients"] == CLIENTS:
        told["times_alone"] = _target(found["times_alone"], 3.0, "higher")
    return told


def _target(figures: dict[str, float], target: float, better: str) -> dict[str, Any]:
    peers = {name: figures[name] for name in ("serve", "serve0")}
    return {"value": figures["ours"], "target": target, "better": better, "peers": peers}


async def measured(given: argparse.Namespace) -> dict[str, Any]:
    model = Model(given.width)
    value = np.ones(given.width, dtype=np.float32)
    batcher = Batcher(model.run, warmed(model, value))
    asks = asks_of(model, batcher)
    idle: dict[str, list[float]] = {name: [] for name in NAMES}
    full: dict[str, list[float]] = {name: [] for name in NAMES}
    loads = [load()]
    for number in range(given.rounds):
        for name in shuffled(NAMES, number):
            idle[name].append(1000 * await idle_s(asks[name], value, given.seconds))
            full[name].append(await full_per_s(asks[name], value, given.clients, given.seconds))
        loads.append(load())
    rate = median(full["ours"])
    return {
        "benchmark": "batching",
        "machine": describe_machine(),
        "ray": metadata.version("ray"),
        "numpy": np.__version__,
        "settings": {**vars(given), "rounds": given.rounds},
        "loads": loads,
        "limit": batcher.times.limit,
        "batch_ms": {size: round(1000 * batcher.times.of(size), 3) for size in (1, 8, 32, 64)},
        "idle_ms": {name: round(median(idle[name]), 3) for name in NAMES},
        "over_alone_ms": {name: ratio(idle[name], idle["alone"], lambda one, two: one - two) for name in NAMES},
        "full_per_s": {name: round(median(full[name])) for name in NAMES},
        "times_alone": {name: ratio(full[name], full["alone"], lambda one, two: one / two) for name in NAMES},
        "deadlines": await with_deadlines(asks, value, rate, given),
    }


def warmed(model: Model, value: Any) -> BatchTimes:
    """As the engine does with an example."""
    times = BatchTimes()
    while not times.is_settled:
        size, began = times.limit, time.monotonic()
        model.predict([value] * size)
        times.add(size, time.monotonic() - began)
    return times


def asks_of(model: Model, batcher: Batcher) -> dict[str, Ask]:
    alone_now = asyncio.Lock()

    async def alone(value: Any, _: float) -> Any:
        async with alone_now:
            return (await model.run([value]))[0]

    async def ours(value: Any, within_s: float) -> Any:
        return await batcher.admit([value], batcher.loop.time() + within_s).outputs()

    by_default, unwaiting = (
        serve_batch(model, {}),
        serve_batch(model, {"max_batch_size": 64, "batch_wait_timeout_s": 0}),
    )
    return {"alone": alone, "ours": ours, "serve": by_default, "serve0": unwaiting}


def serve_batch(model: Model, options: dict[str, Any]) -> Ask:
    """Ray Serve's decorator around the model, in a replica that is made up."""
    from ray import serve
    from ray.serve._private.common import DeploymentID, ReplicaID
    from ray.serve._private.config import DeploymentConfig
    from ray.serve.context import _set_internal_replica_context
    from ray.serve.schema import ReplicaRank

    _set_internal_replica_context(
        replica_id=ReplicaID("made-up", DeploymentID("benchmark")),
        servable_object=model.predict,
        _deployment_config=DeploymentConfig(max_ongoing_requests=1000),
        rank=ReplicaRank(rank=0, node_rank=0, local_rank=0),
        world_size=1,
    )

    @serve.batch(**options)
    async def batched(values: list[Any]) -> list[Any]:
        return await model.run(values)

    async def ask(value: Any, _: float) -> Any:
        return await batched(value)

    return ask


async def idle_s(ask: Ask, value: Any, seconds: float) -> float:
    """Median seconds of one client's requests."""
    took, end = list[float](), time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.monotonic()
        await ask(value, 60.0)
        took.append(time.monotonic() - began)
    return median(took)


async def full_per_s(ask: Ask, value: Any, clients: int, seconds: float) -> float:
    done, end = 0, time.monotonic() + seconds

    async def client() -> None:
        nonlocal done
        while time.monotonic() < end:
            await ask(value, 60.0)
            done += 1

    began = time.monotonic()
    await asyncio.gather(*(client() for _ in range(clients)))
    return done / (time.monotonic() - began)


async def with_deadlines(asks: dict[str, Ask], value: Any, rate: float, given: argparse.Namespace) -> dict[str, Any]:
    """What becomes of requests, by the share of the rate at which they come."""
    found: dict[str, Any] = {}
    for share in SHARES:
        found[str(share)] = {}
        for name in ("ours", "serve", "serve0"):
            counts = await coming(asks[name], value, rate * share, given.seconds * 2, given.deadline_ms / 1000)
            found[str(share)][name] = counts
    return found


async def coming(ask: Ask, value: Any, per_s: float, seconds: float, within_s: float) -> dict[str, int]:
    chance, counts = random.Random(1), {"in_time": 0, "late": 0, "refused": 0}
    tasks, due = set[asyncio.Task[None]](), time.monotonic()
    end = due + seconds

    async def one() -> None:
        began = time.monotonic()
        try:
            await ask(value, within_s)
        except BusyError:
            counts["refused"] += 1
        except LateError:
            counts["refused" if time.monotonic() - began < within_s / 2 else "late"] += 1
        else:
            counts["in_time" if time.monotonic() - began <= within_s else "late"] += 1

    while due < end:
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        task = asyncio.create_task(one())
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        due += chance.expovariate(per_s)
    await asyncio.gather(*tasks)
    return counts


def shuffled(names: tuple[str, ...], seed: int) -> list[str]:
    return random.Random(seed).sample(names, len(names))


def ratio(ones: list[float], others: list[float], of: Callable[[float, float], float]) -> float:
    """Median over the rounds."""
    return round(median(of(one, other) for one, other in zip(ones, others, strict=True)), 3)


if __name__ == "__main__":
    main()
