"""Signals that several tests of autoscaling start from."""

from __future__ import annotations

from typing import Any

from tradewind.serving.autoscaling import ReplicaSignal, Signals
from tradewind.serving.report import ReplicaStatus

CAPACITY = 2048.0


def replica(status: ReplicaStatus = "ready", **values: Any) -> ReplicaSignal:
    return ReplicaSignal(status, **{"capacity": CAPACITY, **values})


def busy(running: int, waiting: int = 0, **values: Any) -> ReplicaSignal:
    """A replica with requests of 256 tokens."""
    return replica(running=running, waiting=waiting, tokens_in_flight=256 * (running + waiting), **values)


def signals(time_s: float, *replicas: ReplicaSignal, target: int | None = None, **values: Any) -> Signals:
    asked = len(replicas) if target is None else target
    return Signals(time_s, asked, replicas, **values)
