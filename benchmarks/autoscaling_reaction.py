"""How soon replicas are there on a real Ray Serve: from none to one, and from one to three under load.

    .venv/bin/python benchmarks/autoscaling_reaction.py [--warm 1]

An endpoint of the `echo` engine, whose start takes as long as a model's that loads in 2 s, is scaled by the `tokens`
policy. Times are from the first request to its first token, and from the begin of the load to the time at
which the front has as many ready replicas. With `--warm` so many more are kept loaded, and one is always ready: the
times are from the begin of the load until two have requests, and until two are wanted. Then the load ends, and the
replicas go. Prints the times, every decision, and as its last line everything as JSON, with the median of each time
that has a target. docs/benchmarks/autoscaling.md has the results.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import httpx

ROOT = Path(__file__).parents[1]
sys.path[0] = str(ROOT)  # this file's folder has modules of names that are not meant

import tradewind as tw
from benchmarks.machine import describe_machine
from tradewind.registry import Models
from tradewind.serving import Endpoint, free_port
from tradewind.serving.autoscaling.history import decisions_of, read_windows
from tradewind.serving.autoscaling.replay import repeat

LOAD_S = 2.0
SCALING = {"min": 0, "max": 3, "ttft_s": 1, "cold_start_s": 5, "idle_to_zero_s": 5, "down_after_s": 5, "cool_down_s": 5}
CLIENTS = 24
"""Three replicas' worth: each has eight slots."""
LAW = {"start_s": LOAD_S, "first_s": 0.05, "each_s": 0.02}
TARGETS_S = {"0 to 1, first token": 5.0, "1 to 3, ready": 6.0, "1 to 2, with requests": 1.0}


def main() -> None:
    given = _arguments()
    rounds, scaling = given.rounds, SCALING | ({"min": 1, "warm": given.warm} if given.warm else {})
    with tempfile.TemporaryDirectory() as folder, tw.Workspace(folder) as place:
        files: dict[str, bytes | Path] = {"config.json": b"{}"}
        Models(place.store).add(
            "pilot", files, parents=(), family="x", parameters=1, context=64, heldout_loss=None, card={}
        )
        wish = {"name": "chat", "model": "pilot", "engine": "echo", "engine_settings": LAW, "scaling": scaling}
        endpoint = place.serve(tw.ServeSpec.of(**wish, port=free_port(18000)))
        try:
            found = [_warm_round(endpoint, given.warm) if given.warm else _round(endpoint) for _ in range(rounds)]
        finally:
            for one in decisions_of(place.store, "chat").all():
                print(f"{one.at:%H:%M:%S.%f}"[:-3], f"{one.before} → {one.target}", one.reason)
        endpoint.stop()
        same = repeat(read_windows(place.store, "chat"))
    print(f"the policy decides {same[0]} of {same[1]} recorded looks again as it did")
    for times in found:
        print({name: round(seconds, 1) for name, seconds in times.items()})
    print(json.dumps({"targets": targets(found, same), "rounds": found, "machine": describe_machine()}))


def targets(rounds: list[dict[str, float]], repeated: tuple[int, int]) -> dict[str, dict[str, Any]]:
    """`repeated`: how many looks were decided again as they were, of how many."""
    found: dict[str, dict[str, Any]] = {
        name: {"value": median(times[name] for times in rounds), "target": target, "better": "lower"}
        for name, target in TARGETS_S.items()
        if name in rounds[0]
    }
    found["looks decided again as they were"] = {"value": repeated[0], "target": repeated[1], "better": "higher"}
    return found


def _round(endpoint: Endpoint) -> dict[str, float]:
    """Seconds of each step, from an endpoint of none to one of none."""
    _wait(endpoint, 0)
    began = time.monotonic()
    _ask(endpoint, tokens=1)
    found = {"0 to 1, first token": time.monotonic() - began}
    _wait(endpoint, 1)
    with _Load(endpoint):
        began = time.monotonic()
        for count in (2, 3):
            _wait(endpoint, count)
            found[f"1 to {count}, ready"] = time.monotonic() - began
        time.sleep(3)
    began = time.monotonic()
    _wait(endpoint, 0)
    found["3 to 0"] = time.monotonic() - began
    return found


def _warm_round(endpoint: Endpoint, warm: int) -> dict[str, float]:
    _wait_for(lambda: (_ready(endpoint), _count(endpoint, "spare")) == (1, warm))
    with _Load(endpoint):
        began = time.monotonic()
        _wait_for(lambda: sum(one["open"] > 0 for one in endpoint.replicas()) == 2)
        found = {"1 to 2, with requests": time.monotonic() - began}
        _wait(endpoint, 2)
        found["1 to 2, decided"] = time.monotonic() - began
        time.sleep(3)
    return found


class _Load:
    """Clients that ask again as soon as they are answered."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._is_over = threading.Event()
        self._clients = [threading.Thread(target=self._ask) for _ in range(CLIENTS)]

    def __enter__(self) -> None:
        for client in self._clients:
            client.start()

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for client in self._clients:
            client.join()

    def _ask(self) -> None:
        while not self._is_over.is_set():
            _ask(self._endpoint)


def _ask(endpoint: Endpoint, *, tokens: int = 60) -> None:
    body = {"model": "pilot", "prompt": "the quay at dawn", "max_tokens": tokens}
    httpx.post(f"{endpoint.url}/v1/completions", json=body, timeout=60).raise_for_status()


def _wait(endpoint: Endpoint, count: int) -> None:
    """Until so many replicas are ready, or more where it is not none."""
    _wait_for(lambda: _ready(endpoint) >= count if count else not _ready(endpoint))


def _wait_for(what: Callable[[], bool]) -> None:
    """Raises RuntimeError after a minute."""
    end = time.monotonic() + 60
    while not what():
        if time.monotonic() > end:
            raise RuntimeError("the replicas are not as they should be after a minute")
        time.sleep(0.05)


def _ready(endpoint: Endpoint) -> int:
    return _count(endpoint, "ready")


def _count(endpoint: Endpoint, status: str) -> int:
    replicas: list[dict[str, Any]] = endpoint.replicas()
    return sum(one["status"] == status and not one["refused"] and one["silent_s"] < 3 for one in replicas)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="How soon replicas are there on a real Ray Serve.")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--warm", type=int, default=0, help="replicas that are kept loaded beyond those wanted")
    return parser.parse_args()


if __name__ == "__main__":
    main()
