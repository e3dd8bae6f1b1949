"""Time in ticks: a policy looks on a grid, so that what it saw can be written down and played again exactly."""

from __future__ import annotations

from tradewind.records import ReplicaRow, ScalingSample
from tradewind.serving.autoscaling.signals import ReplicaSignal, Signals

TICK_S = 0.5
"""Between two decisions. Replicas report as often."""


def tick_of(time_s: float) -> int:
    """The last tick that has begun."""
    return int(time_s // TICK_S)


def sample_of(signals: Signals, decided: int) -> ScalingSample:
    return ScalingSample(
        tick=round(signals.time_s / TICK_S),
        target=signals.target,
        decided=decided,
        queued=signals.queued,
        arrivals_per_s=signals.arrivals_per_s,
        tokens_per_s=signals.tokens_per_s,
        replicas=tuple(_row(one) for one in signals.replicas),
    )


def signals_of(sample: ScalingSample, tick: int, tick_s: float = TICK_S) -> Signals:
    """What the policy saw at one of the sample's ticks."""
    return Signals(
        time_s=tick * tick_s,
        target=sample.target,
        replicas=tuple(_replica(row) for row in sample.replicas),
        queued=sample.queued,
        arrivals_per_s=sample.arrivals_per_s,
        tokens_per_s=sample.tokens_per_s,
    )


def _row(one: ReplicaSignal) -> ReplicaRow:
    return one.status, one.running, one.waiting, one.tokens_in_flight, one.kv_use, one.ttft_p95_s, one.capacity


def _replica(row: ReplicaRow) -> ReplicaSignal:
    status, running, waiting, tokens_in_flight, kv_use, ttft_p95_s, capacity = row
    return ReplicaSignal(status, running, waiting, tokens_in_flight, kv_use, ttft_p95_s, capacity)
