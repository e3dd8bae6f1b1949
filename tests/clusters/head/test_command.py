from __future__ import annotations

import shlex
from pathlib import Path

import ray

from tradewind.clusters.head.command import RECONNECT, supervised


def test_command_of_ray_stays_readable_behind_the_supervisor() -> None:
    start = "ray start --head --port=6379"
    assert shlex.split(supervised(start)) == ["python", "-m", "tradewind.clusters.head", *shlex.split(start)]


def test_raylets_know_the_setting_for_workers() -> None:
    raylet = (Path(ray.__file__).parent / "core/src/ray/raylet/raylet").read_bytes()
    assert all(name.encode() in raylet for name in RECONNECT)
