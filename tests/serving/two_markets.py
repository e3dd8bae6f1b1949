"""Endpoints on a Ray of two nodes, one of them spot, in a process of its own. Prints what happened.

`two_markets.py FOLDER`: the folder is for a workspace. The nodes are processes of this machine, their chips are said
and not there.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import ray
from ray import serve
from ray._private.state import actors
from ray.cluster_utils import Cluster

import tradewind as tw
from tests.conftest import free_port
from tradewind.clusters.overlay.node_files import MARKET
from tradewind.errors import CapacityError
from tradewind.registry import Models
from tradewind.serving import Endpoint
from tradewind.serving.model_files import ModelFiles
from tradewind.serving.prefetch import prefetch

PATIENCE_S = 90.0
CLIENTS = 11
"""Of 16 slots, 70 %."""
BEFORE, AFTER = 500, 1500
"""Answers before and after the node is lost."""
SMALL: dict[str, Any] = {"object_store_memory": 80_000_000, "include_dashboard": False}


def main(folder: Path) -> None:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **SMALL})
    try:
        cluster.add_node(num_cpus=2, num_gpus=1, **SMALL)
        ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
        with tw.Workspace(str(folder)) as workspace:
            files: dict[str, bytes | Path] = {"config.json": b"{}"}
            models = Models(workspace.store)
            models.add("pilot", files, parents=(), family="x", parameters=1, context=64, heldout_loss=None, card={})
            refusals = refused(workspace)
            spot = add_spot(cluster)
            found = {"refused": refusals, "fetched": fetched(workspace), "stages": stages(workspace)}
            print(json.dumps(found | spot_is_lost(workspace, cluster, spot)))
    finally:
        ray.shutdown()
        cluster.shutdown()  # type: ignore[no-untyped-call]


def add_spot(cluster: Cluster) -> Any:
    return cluster.add_node(num_cpus=2, num_gpus=1, labels={MARKET: "spot"}, **SMALL)


def fetched(workspace: tw.Workspace) -> int:
    """Nodes to which the model was brought."""
    files = ModelFiles.of(workspace.store, "pilot")
    return len(ray.get(list(prefetch(spec("chat"), workspace.store, files).values()), timeout=PATIENCE_S))


def stages(workspace: tw.Workspace) -> dict[str, Any]:
    """A replica of two stages, each on a node of its own."""
    endpoint = workspace.serve(spec("stages", parallel={"pipeline": 2}))
    (group,) = [one for one in ray.util.placement_group_table().values() if one["state"] == "CREATED"]
    status = ask(endpoint)
    endpoint.stop()
    return {"nodes": len(set(group["bundles_to_node_id"].values())), "status": status}


def refused(workspace: tw.Workspace) -> dict[str, str]:
    """What is said of endpoints that no node here can hold."""
    wishes: dict[str, dict[str, Any]] = {
        "two stages and one chip": {"parallel": {"pipeline": 2}},
        "no spot": {"replicas": 2, "base": 1, "burst": "spot"},
        "two in one machine": {"parallel": {"tensor": 2}},
        "another chip": {"chips_per_replica": 1, "where": {"chips": ["H200"]}},
    }
    found = {}
    for name, wish in wishes.items():
        try:
            workspace.serve(spec("refused", **wish))
        except CapacityError as exc:
            found[name] = f"{exc.message} ({exc.hint})"
    return found


def spot_is_lost(workspace: tw.Workspace, cluster: Cluster, spot: Any) -> dict[str, Any]:
    endpoint = workspace.serve(spec("chat", replicas=2, base=1, burst="spot", max_concurrency=8))
    placed = {name: market_of(node) for name, node in places(endpoint).items()}
    with Load(endpoint) as load:
        wait(lambda: load.answers > BEFORE)
        cluster.remove_node(spot, allow_graceful=False)
        wait(lambda: load.answers > BEFORE + AFTER)
        alone = {name: market_of(node) for name, node in places(endpoint).items()}
        status = serve.status().applications["chat"].deployments["Replica"]
        began = time.monotonic()
        add_spot(cluster)
        wait(lambda: len(places(endpoint)) == 2)
        back_s = time.monotonic() - began
    back = {name: market_of(node) for name, node in places(endpoint).items()}
    endpoint.stop()
    return {
        "placed": placed, "alone": alone, "back": back, "back_s": back_s,
        "status": [status.status, status.replica_states],
        "answers": load.answers, "cut": load.cut, "failed": load.failed,
    }  # fmt: skip


def spec(name: str, **changes: Any) -> tw.ServeSpec:
    law = {"first_s": 0.02, "each_s": 0.005}
    return tw.ServeSpec.of(name=name, model="pilot", engine="echo", port=free_port(), engine_settings=law, **changes)


def ask(endpoint: Endpoint) -> int:
    body = {"model": "pilot", "prompt": "the quay", "max_tokens": 5}
    return httpx.post(f"{endpoint.url}/v1/completions", json=body, timeout=60).status_code


def places(endpoint: Endpoint) -> dict[str, str]:
    """Deployment → the node of its replica, of those that are ready."""
    ready = [one["replica"] for one in endpoint.replicas() if one["status"] == "ready" and one["silent_s"] < 3]
    alive = [one for one in actors().values() if one["State"] == "ALIVE"]
    return {
        one["Name"].split("#")[1]: one["Address"]["NodeID"]
        for one in alive
        for name in ready
        if one["Name"].endswith(f"#{name}")
    }


def market_of(node_id: str) -> str:
    (node,) = [one for one in ray.nodes() if one["NodeID"] == node_id]  # type: ignore[no-untyped-call]
    market: str = node["Labels"].get(MARKET, "stays")
    return market


def wait(what: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not what():
        if time.monotonic() > end:
            raise TimeoutError("it did not come about")
        time.sleep(0.05)


class Load:
    """Clients that ask again as soon as they are answered, for a stream and a whole answer by turns."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.answers = 0
        self.cut = 0
        """Streams that had begun."""
        self.failed: list[str] = []
        self._url = f"{endpoint.url}/v1/completions"
        self._is_over = threading.Event()
        self._clients = [threading.Thread(target=self._run) for _ in range(CLIENTS)]

    def __enter__(self) -> Load:
        for client in self._clients:
            client.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for client in self._clients:
            client.join()

    def _run(self) -> None:
        with httpx.Client(timeout=60) as client:
            while not self._is_over.is_set():
                for streams in (True, False):
                    try:
                        self._ask(client, streams=streams)
                    except httpx.HTTPError as exc:
                        self.failed.append(repr(exc))

    def _ask(self, client: httpx.Client, *, streams: bool) -> None:
        body = {"model": "pilot", "prompt": "the quay", "max_tokens": 10, "stream": streams}
        with client.stream("POST", self._url, json=body) as answer:
            lines = [line for line in answer.iter_lines() if line]
        self.answers += 1
        if answer.status_code != 200:
            self.failed.append(f"{answer.status_code} {lines}")
        elif streams and lines[-1] != "data: [DONE]":
            self.cut += 1


if __name__ == "__main__":
    main(Path(sys.argv[1]))
