"""A Ray of two nodes with a token, in a process of its own: Ray settles how it logs in when it is first imported.

The head has no processors, the worker has a resource `spot`. Each line of the input asks something, and is answered by
a line of JSON. When the input ends, so does Ray.
"""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

import ray
from ray._raylet import GcsClient  # type: ignore[attr-defined]
from ray.cluster_utils import Cluster


@ray.remote(resources={"spot": 0.1}, num_cpus=0)
class Tide:
    def high(self) -> str:
        return "water"


@ray.remote(resources={"spot": 0.1}, num_cpus=0)
def wave() -> str:
    return "wave"


def main() -> None:
    small: dict[str, Any] = {"object_store_memory": 80_000_000, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **small})
    try:
        worker = cluster.add_node(num_cpus=1, resources={"spot": 1}, **small)
        ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
        tide = Tide.remote()  # type: ignore[attr-defined]
        ray.get([tide.high.remote(), wave.remote()])
        say({"address": cluster.address, "head": node(cluster.head_node), "worker": node(worker)})
        for line in sys.stdin:
            say(answer(line.strip(), cluster.address, tide))
    finally:
        ray.shutdown()
        cluster.shutdown()  # type: ignore[no-untyped-call]


def node(started: Any) -> dict[str, Any]:
    return {"id": started.node_id, "pid": started.all_processes["raylet"][0].process.pid}


def answer(question: str, address: str, tide: Any) -> Any:
    if question == "alive":
        return [found["NodeID"] for found in ray.nodes() if found["Alive"]]  # type: ignore[no-untyped-call]
    if question == "draining":
        return GcsClient(address=address).get_draining_nodes()
    if question == "new task":
        ready, _ = ray.wait([wave.remote()], timeout=1.0)
        return bool(ready)
    try:
        return ray.get(tide.high.remote())
    except ray.exceptions.RayActorError:
        return "gone"


def say(value: Any) -> None:
    print(json.dumps(value), flush=True)


if __name__ == "__main__":
    main()
