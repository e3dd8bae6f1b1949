"""A machine through the hybrid provider and through Ray's own, side by side; and through a region that is sold out.

    .venv/bin/python benchmarks/clusters.py

Both ask the same moto server for EC2 in turn, and each ends its machine before the next one asks. What their own code
takes is told apart from the server's answers by the processor time of the thread that asks.
Prints medians, what `make lab` has left of whole clusters, and as its last line everything as JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

sys.path[0] = str(Path(__file__).parents[1])  # this file's folder has modules of names that are not meant

from benchmarks.machine import describe_machine
from tradewind.testing.clouds.ec2 import Ec2, start_ec2
from tradewind.testing.clouds.image import seconds_path

WEST, EAST = "us-west-2", "us-east-1"
BLOCKS = {WEST: "10.91.0.0/20", EAST: "10.91.16.0/20"}
MOST_OVERHEAD, MOST_FAILOVER_S = 0.05, 0.5
TAGS = {
    "ray-node-name": "ray-bench-worker",
    "ray-node-type": "worker",
    "ray-node-status": "uninitialized",
    "ray-launch-config": "c0ffee",
    "ray-launch-request": "r-1",
    "ray-user-node-type": "cpu",
}

RENDERED = [
    {"Key": "tradewind-cluster", "Value": "plain"},
    {"Key": "tradewind-owner", "Value": "bench"},
    {"Key": "tradewind-ttl-s", "Value": "86400"},
    {"Key": "tradewind-candidate", "Value": "aws-us-west-2-m5-large-on-demand"},
]
"""What the file of a cluster in one cloud gives each machine; the hybrid provider adds five more."""

Launch = Callable[[], list[str]]
End = Callable[[list[str]], None]
Took = tuple[float, float]
"""Seconds in all, and those in which the thread computed."""


def main() -> None:
    arguments = _arguments()
    logging.disable(logging.INFO)
    machine = describe_machine()
    lab = _lab()  # before the home is another one
    with tempfile.TemporaryDirectory() as home, start_ec2(BLOCKS) as ec2:
        os.environ.update({**ec2.environment, "HOME": home})
        with contextlib.redirect_stdout(io.StringIO()):  # Ray's providers say each launch
            figures = measure(ec2, arguments.turns)
    for name, value in figures.items():
        print(f"{name:28} {value:8.4f}")
    targets = {
        "launch_overhead_share": _target(figures["launch_overhead_share"], MOST_OVERHEAD),
        "failover_s": _target(figures["failover_s"], MOST_FAILOVER_S),
    }
    versions = {name: metadata.version(name) for name in ("tradewind", "ray", "boto3", "moto")}
    after = {**machine, "load_after": describe_machine()["load"]}
    told = {"targets": targets, "figures": figures, "turns": arguments.turns, "lab": lab, "machine": after, **versions}
    print(json.dumps(told))


def measure(ec2: Ec2, turns: int) -> dict[str, float]:
    """Medians, in seconds; the overhead is that of the median of pairs, which share the machine's moods."""
    plain, hybrid = list(_turns(*_plain(ec2), *_hybrid(ec2, "bench"), turns))
    pairs = list(zip(hybrid, plain, strict=True))
    overhead = median(mine[0] - theirs[0] for mine, theirs in pairs)
    computed = median(mine[1] - theirs[1] for mine, theirs in pairs)
    launch_s = median(wall for wall, _ in plain)
    ec2.weather.sold_out = {f"{WEST} m5.large on_demand"}
    ec2.announce()
    failover = [_failover(ec2, number) for number in range(turns)]
    return {
        "plain_launch_s": launch_s,
        "hybrid_launch_s": median(wall for wall, _ in hybrid),
        "launch_overhead_s": overhead,
        "launch_overhead_share": overhead / launch_s,
        "launch_overhead_own_s": computed,
        "launch_overhead_own_share": computed / launch_s,
        "failover_s": median(failover),
        "failover_longest_s": max(failover),
    }


def _turns(plain: Launch, end_plain: End, hybrid: Launch, end_hybrid: End, turns: int) -> Iterator[list[Took]]:
    found: tuple[list[Took], list[Took]] = ([], [])
    for turn in range(turns + 2):
        pair = [(plain, end_plain, found[0]), (hybrid, end_hybrid, found[1])]
        for launch, end, seconds in pair if turn % 2 else reversed(pair):
            started, computed = time.perf_counter(), time.thread_time()
            made = launch()
            took = time.perf_counter() - started, time.thread_time() - computed
            if turn >= 2:  # the first ones open connections
                seconds.append(took)
            end(made)
    yield from found


def _plain(ec2: Ec2) -> tuple[Launch, End]:
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider

    provider: Any = AWSNodeProvider(_backend(WEST), "plain")  # type: ignore[no-untyped-call]
    config = {**_node_config(ec2, WEST), "TagSpecifications": [{"ResourceType": "instance", "Tags": RENDERED}]}
    return lambda: list(provider.create_node(config, dict(TAGS), 1)), provider.terminate_nodes


def _hybrid(ec2: Ec2, cluster: str) -> tuple[Launch, End]:
    """The cheapest candidate is in the west; the next one is in the east."""
    from tradewind.clusters.hybrid import HybridNodeProvider

    settings = {"cluster": {"owner": "bench"}, "backends": {"west": _backend(WEST), "east": _backend(EAST)}}
    provider = HybridNodeProvider(settings, cluster)
    places = (("west", WEST), ("east", EAST))
    candidates = [
        {"name": name, "backend": name, "usd_per_hour": 0.1 + 0.1 * number, "node_config": _node_config(ec2, region)}
        for number, (name, region) in enumerate(places)
    ]
    config = {"candidates": candidates}

    def launch() -> list[str]:
        return list(provider.create_node_with_resources_and_labels(config, dict(TAGS), 1, {}, {}))

    def end(nodes: list[str]) -> None:
        provider.terminate_nodes(nodes)
        provider.journal.flush(10.0)  # what is written beside the work must not disturb what is measured next

    return launch, end


def _failover(ec2: Ec2, number: int) -> float:
    """Seconds to a machine in the east, with a provider that does not know yet that the west is sold out."""
    launch, end = _hybrid(ec2, f"failover-{number}")
    started = time.perf_counter()
    (node,) = launch()
    seconds = time.perf_counter() - started
    if not node.startswith("east/"):
        raise SystemExit(f"{node} is not in the east")
    end([node])
    return seconds


def _backend(region: str) -> dict[str, Any]:
    return {"type": "aws", "region": region, "cache_stopped_nodes": False, "use_internal_ips": True}


def _node_config(ec2: Ec2, region: str) -> dict[str, Any]:
    subnet = ec2.client(region).describe_subnets()["Subnets"][0]["SubnetId"]
    return {"InstanceType": "m5.large", "ImageId": "ami-0a2b85e15b7c0ac34", "SubnetIds": [subnet]}


def _target(value: float, target: float) -> dict[str, Any]:
    return {"value": round(value, 4), "target": target, "better": "lower"}


def _lab() -> dict[str, Any]:
    """Seconds of whole clusters, which `make lab` has measured on this machine."""
    path = seconds_path()
    if not path.exists():
        print(f"no seconds of whole clusters: there is no {path}; `make lab` writes it")
        return {}
    told: dict[str, Any] = json.loads(path.read_text())
    for cluster, seconds in told.items():
        for name, value in seconds.items():
            print(f"{cluster + ': ' + name:28} {value:8.2f}")
    return told


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--turns", type=int, default=100, help="launches of each")
    return parser.parse_args()


if __name__ == "__main__":
    main()
