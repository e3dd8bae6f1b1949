"""A run on a Ray of two nodes of which one is lost and another comes, in a process of its own. Prints what happened."""

from __future__ import annotations

import json
import logging
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray
from prometheus_client.parser import text_string_to_metric_families
from ray.cluster_utils import Cluster

import tradewind as tw
from tests.samples import dataset_spec, write_text
from tradewind.training import Run, prove
from tradewind.training.driving.ranks import RACK
from tradewind.training.gauges import PREFIX

PATIENCE_S = 120.0
NAMES = f"ray_{PREFIX}"


def main(folder: Path) -> None:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    nodes = [cluster.add_node(num_cpus=1, labels={RACK: rack}) for rack in ("r2", "r1")]
    ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
    with tw.Workspace(str(folder / "workspace")) as workspace:
        workspace.datasets.add(dataset_spec(write_text(folder / "text")))
        run = workspace.train(_spec())
        sizes, racks = [_await(run, 2)], [_racks(run)]
        cluster.remove_node(nodes[1], allow_graceful=False)
        sizes.append(_await(run, 1))
        cluster.add_node(num_cpus=1, labels={RACK: "r10"})
        sizes.append(_await(run, 2))
        racks.append(_racks(run))
        exported = _exported(run)
        run.stop()
        _wait_for_end(run)
        steps = [row.step for row in run.metrics()]
        whole = steps == list(range(1, len(steps) + 1))
        samples = prove(run).samples
        found = {"sizes": sizes, "racks": racks, "exported": exported, "steps": len(steps)}
        print(json.dumps({**found, "whole": whole, "samples": samples}))


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


def _racks(run: Run) -> list[str]:
    """Of the newest group's nodes, by rank."""
    group = run.files.workers()
    assert group is not None
    labels = {node["NodeID"]: node["Labels"] for node in ray.nodes()}  # type: ignore[no-untyped-call]
    return [labels[worker.node][RACK] for worker in sorted(group.workers, key=lambda one: one.rank)]


def _exported(run: Run) -> dict[str, float]:
    """What Prometheus would read of the run from the nodes that are there, once the newest group's numbers are out."""
    end = time.monotonic() + PATIENCE_S
    found: dict[str, float] = {}
    while time.monotonic() < end and not {"workers", "loss"} <= set(found):
        time.sleep(1.0)
        found = {name: value for node in ray.nodes() if node["Alive"] for name, value in _of_node(node, run.name)}  # type: ignore[no-untyped-call]
    return found


def _of_node(node: dict[str, Any], run: str) -> Iterator[tuple[str, float]]:
    url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    with urllib.request.urlopen(url, timeout=10) as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    for sample in (sample for family in families for sample in family.samples):
        if sample.name.startswith(NAMES) and sample.labels["run"] == run:
            yield sample.name.removeprefix(NAMES), sample.value


def _wait_for_end(run: Run) -> None:
    end = time.monotonic() + PATIENCE_S
    while run.end is None:
        if time.monotonic() > end:
            raise TimeoutError("the run did not stop")
        time.sleep(0.5)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
