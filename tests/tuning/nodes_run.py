"""A sweep on a Ray of several nodes: one is lost, one is drained, others come. In a process of its own; prints JSON."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
from ray._raylet import GcsClient  # type: ignore[attr-defined]
from ray.cluster_utils import Cluster
from ray.core.generated import autoscaler_pb2

import tradewind as tw
from tests.samples import dataset_spec, write_text
from tests.tuning.sea import LOG, SLEEP
from tests.tuning.wishes import TOY, toy_spec
from tradewind.records import TrialPreempted
from tradewind.tuning import Sweep, Tuning

PATIENCE_S = 120.0
NOTICE_S = 30.0
SMALL: dict[str, Any] = {"object_store_memory": 80_000_000, "include_dashboard": False}


def main(folder: Path) -> None:
    log = folder / "steps.log"
    os.environ |= {LOG: str(log), SLEEP: "0.25"}  # Ray's processes have the environment that it started with
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **SMALL})
    lost, drained = (cluster.add_node(num_cpus=1, **SMALL) for _ in range(2))
    ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
    with tw.Workspace(str(folder / "workspace")) as workspace:
        workspace.datasets.add(dataset_spec(write_text(folder / "text")))
        tuning = Tuning(workspace.store, workspace.machine, lambda workers: workspace._ray(workers=workers), work=TOY)
        sweep = tuning.start(toy_spec(trials=4, parallel=2, max_steps=40))
        await_steps(log, trials=2, step=7)
        cluster.remove_node(lost, allow_graceful=False)
        cluster.add_node(num_cpus=1, **SMALL)
        await_preempted(sweep, 1)
        cluster.add_node(num_cpus=1, **SMALL)
        drain(cluster.address, drained.node_id)
        await_preempted(sweep, 2)
        sweep.wait()
        told = [one for one in sweep.events() if isinstance(one, TrialPreempted)]
        trials = [(one.status, one.failures) for one in sweep.standing().trials]
        print(json.dumps({"trials": trials, "noticed": [one.noticed for one in told], "again": again(log)}))


def await_steps(log: Path, *, trials: int, step: int) -> None:
    """Until so many trials have made a step."""
    until(lambda: len({trial for trial, made in steps(log) if made >= step}) >= trials)


def await_preempted(sweep: Sweep, count: int) -> None:
    until(lambda: sum(isinstance(one, TrialPreempted) for one in sweep.events()) >= count)


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.05)


def steps(log: Path) -> list[tuple[str, int]]:
    lines = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
    return [(line[0], int(line[1])) for line in lines]


def again(log: Path) -> int:
    """Steps that were made more than once."""
    return sum(count - 1 for count in Counter(steps(log)).values())


def drain(address: str, node: str) -> None:
    reason = autoscaler_pb2.DRAIN_NODE_REASON_PREEMPTION  # type: ignore[attr-defined]
    end_ms = int((time.time() + NOTICE_S) * 1000)
    accepted, why = GcsClient(address=address).drain_node(node, reason, "it is taken away", end_ms)
    if not accepted:
        raise RuntimeError(why)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
