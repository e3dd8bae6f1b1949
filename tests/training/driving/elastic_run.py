"""A run on a Ray of two nodes of which one is lost and another comes, in a process of its own. Prints what happened."""

from __future__ import annotations

import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

import ray
from ray.cluster_utils import Cluster

import tradewind as tw
from tests.samples import dataset_spec, write_text
from tradewind.training import Run, prove

PATIENCE_S = 120.0


def main(folder: Path) -> None:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
    with tw.Workspace(str(folder / "workspace")) as workspace:
        workspace.datasets.add(dataset_spec(write_text(folder / "text")))
        run = workspace.train(_spec())
        sizes = [_await(run, 2)]
        cluster.remove_node(nodes[1], allow_graceful=False)
        sizes.append(_await(run, 1))
        cluster.add_node(num_cpus=1)
        sizes.append(_await(run, 2))
        run.stop()
        _wait_for_end(run)
        steps = [row.step for row in run.metrics()]
        whole = steps == list(range(1, len(steps) + 1))
        print(json.dumps({"sizes": sizes, "whole": whole, "steps": len(steps), "samples": prove(run).samples}))


def _spec() -> Any:
    return tw.TrainSpec.of(
        name="pilot",
        dataset="logbook",
        model={"hidden": 32, "layers": 1, "heads": 2},
        batch={"sequences": 4, "tokens_per_sequence": 16},
        max_steps=10**6,
        workers=2,
        min_workers=1,
        max_failures=100,
        checkpoint_every_s=1,
    )


def _await(run: Run, size: int) -> int:
    """Wait until a group of that size is the newest and has made steps of its own."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        before, group = len(run.metrics()), run.files.workers()
        time.sleep(1.0)
        if group and len(group.workers) == size and group == run.files.workers() and len(run.metrics()) > before + 3:
            return size
    raise TimeoutError(f"the group is {run.files.workers()}")


def _wait_for_end(run: Run) -> None:
    end = time.monotonic() + PATIENCE_S
    while run.end is None:
        if time.monotonic() > end:
            raise TimeoutError("the run did not stop")
        time.sleep(0.5)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
