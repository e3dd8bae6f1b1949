"""A run's numbers for Prometheus, by way of the Ray that it runs in.

On each node Ray has a server which Prometheus can ask, and which exports what the node's processes set: every name with
`ray_` before it, and counters with `_total` behind. It hears from them every 10 s (`metrics_report_interval_ms`), so
setting a number more often than that shows nobody anything: here it is done every `EVERY_S`, and costs a step nothing.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from tradewind.records import StepMetrics

EVERY_S = 2.0
PREFIX = "tradewind_train_"
GAUGES = {
    "step": ("step", "Optimizer steps of the whole run"),
    "loss": ("loss", "Mean loss of the step's batch, nats a token"),
    "heldout_loss": ("heldout_loss", "Mean loss of held-out samples at the last checkpoint, nats a token"),
    "learning_rate": ("learning_rate", "Learning rate of the step"),
    "grad_norm": ("grad_norm", "Norm of all gradients before clipping"),
    "tokens_per_second": ("tokens_per_s", "Tokens a second of the whole run in the step"),
    "mfu_ratio": ("mfu", "Operations of the model a second over the peak of the chips"),
    "communication_seconds": ("communication_seconds", "Wait for other ranks, in the last step looked into"),
    "memory_bytes": ("memory_bytes", "Memory of the first worker: reserved on its chip, or resident"),
}
"""Name → the field of `StepMetrics`, and what it is."""
COUNTERS = {
    "steps": "Steps made",
    "tokens": "Tokens trained on",
    "step_seconds": "Seconds of steps",
    "data_wait_seconds": "Seconds of steps in which workers waited for data, on average",
    "checkpoint_seconds": "Seconds between steps in which checkpoints were evaluated and begun",
    "checkpoints": "Checkpoints begun",
}
"""Of this process: they begin at 0 where workers start again."""


def gauges_of(run: str) -> Gauges | None:
    """None outside of Ray, where there is nobody to export them."""
    ray = sys.modules.get("ray")
    return Gauges(run) if ray is not None and ray.is_initialized() else None


class Gauges:
    """Takes each step, and passes on what the steps since the last time add up to."""

    def __init__(self, run: str) -> None:
        import ray.util.metrics

        self._run = {"run": run}
        self._gauges: dict[str, Any] = {
            name: ray.util.metrics.Gauge(PREFIX + name, description=what, tag_keys=("run",))
            for name, (_, what) in GAUGES.items()
        }
        self._counters: dict[str, Any] = {
            name: ray.util.metrics.Counter(PREFIX + name, description=what, tag_keys=("run",))
            for name, what in COUNTERS.items()
        }
        self._grown = dict.fromkeys(COUNTERS, 0.0)
        self._last: StepMetrics | None = None
        self._set_at = float("-inf")

    def take(self, row: StepMetrics) -> None:
        for name, value in _increments(row).items():
            self._grown[name] += value
        self._last = row
        if row.heldout_loss is not None or time.monotonic() - self._set_at >= EVERY_S:
            self.set()

    def set(self) -> None:
        """Pass on what has been taken."""
        if self._last is None:
            return
        for name, gauge in self._gauges.items():
            gauge.set(getattr(self._last, GAUGES[name][0]), self._run)
        for name, value in self._grown.items():
            if value > 0:
                self._counters[name].inc(value, self._run)
        self._grown = dict.fromkeys(COUNTERS, 0.0)
        self._set_at = time.monotonic()


def set_workers(run: str, *, workers: int, restarts: int) -> None:
    """For the process that drives a run, which stays when workers go."""
    from ray.util.metrics import Gauge

    for name, value, what in (
        ("workers", workers, "Workers of the group that runs"),
        ("restarts", restarts, "Groups of workers after the first one"),
    ):
        Gauge(PREFIX + name, description=what, tag_keys=("run",)).set(value, {"run": run})


def _increments(row: StepMetrics) -> dict[str, float]:
    tokens = row.tokens / row.step
    return {
        "steps": 1.0,
        "tokens": tokens,
        "step_seconds": tokens / row.tokens_per_s,
        "data_wait_seconds": row.data_seconds,
        "checkpoint_seconds": row.stopped_seconds,
        "checkpoints": float(row.heldout_loss is not None),
    }
