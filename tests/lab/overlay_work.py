"""Work for a Ray cluster whose nodes have the resources `worker-1` and `worker-2`, run on its head.

Takes one word that says which, and answers with a line of JSON.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from typing import Any

import numpy as np
import ray
from ray.util.placement_group import placement_group, placement_group_table

from tradewind.clusters.overlay import same_site_placement

WORKERS = ("worker-1", "worker-2")


@ray.remote(num_cpus=0.1)
def where() -> str:
    return os.uname().nodename


@ray.remote(num_cpus=0.1)
class Counter:
    def __init__(self) -> None:
        self.count = 0

    def add(self) -> int:
        self.count += 1
        return self.count

    def value(self) -> int:
        return self.count


@ray.remote(num_cpus=0.1)
def receive(cargo: Any) -> int:
    return len(cargo)


@ray.remote(num_cpus=0.5)
class Rank:
    def reduce(self, rank: int, address: str) -> list[float]:
        import torch
        import torch.distributed as dist

        dist.init_process_group("gloo", init_method=address, rank=rank, world_size=len(WORKERS))
        values = torch.full((1000,), float(rank + 1))
        dist.all_reduce(values)
        dist.destroy_process_group()
        return [float(values.min()), float(values.max())]


def on(worker: str) -> dict[str, Any]:
    return {"resources": {worker: 0.1}}


def meet() -> Any:
    """Tasks, actors and a collective on both workers."""
    hosts = ray.get([where.options(**on(worker)).remote() for worker in WORKERS])
    counters = [Counter.options(**on(worker)).remote() for worker in WORKERS]  # type: ignore[attr-defined]
    counts = ray.get([counter.add.remote() for counter in counters for _ in range(2)])
    ranks = [Rank.options(**on(worker)).remote() for worker in WORKERS]  # type: ignore[attr-defined]
    address = "tcp://10.99.0.2:12355"  # of rank 0
    sums = ray.get([rank.reduce.remote(number, address) for number, rank in enumerate(ranks)])
    return {"hosts": hosts, "counts": counts, "sums": sums}


def carry() -> Any:
    """20 MB from the head to each worker, in seconds."""
    cargo, took = np.ones(20_000_000, np.uint8), {}
    for worker in WORKERS:
        ray.get(receive.options(**on(worker)).remote(cargo[:1]))
        start = time.monotonic()
        assert ray.get(receive.options(**on(worker)).remote(ray.put(cargo))) == len(cargo)
        took[worker] = time.monotonic() - start
    return took


def place() -> Any:
    """Where groups of two end up, which site each node says it is of, and whether one that fits nowhere waits."""
    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    sites = {node["NodeID"]: node["Labels"].get("site") for node in nodes}
    group = placement_group([{"CPU": 0.4}] * 2, **same_site_placement())
    ray.get(group.ready())
    found = placement_group_table(group)["bundles_to_node_id"].values()
    too_large = placement_group([{"CPU": 0.8}] * 2, **same_site_placement())
    return {
        "sites": sorted(filter(None, sites.values())),
        "group": [sites[node] for node in found],
        "met": too_large.wait(5),
    }


def outlast() -> Any:
    """An actor and a task on worker-1, across an outage that somebody makes from `waiting` until a line is read.

    The first call after an outage may find its connection broken, and Ray makes it again only where it is told to.
    """
    counter = Counter.options(max_task_retries=5, **on("worker-1")).remote()  # type: ignore[attr-defined]
    assert ray.get(counter.add.remote()) == 1
    print("waiting", flush=True)
    sys.stdin.readline()
    start = time.monotonic()
    count = ray.get(counter.value.remote(), timeout=120)
    answered_s = time.monotonic() - start
    host = ray.get(where.options(**on("worker-1")).remote(), timeout=120)
    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    alive = sorted(node["NodeManagerAddress"] for node in nodes if node["Alive"])
    return {"count": count, "answered_s": answered_s, "host": host, "alive": alive}


if __name__ == "__main__":
    ray.init(address="auto", logging_level=logging.ERROR, log_to_driver=False)
    print(json.dumps({"meet": meet, "carry": carry, "place": place, "outlast": outlast}[sys.argv[1]]()), flush=True)
