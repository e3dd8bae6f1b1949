"""Metrics of a run on their way into the workspace, where anyone can follow them.

An object store cannot append, so steps are written in parts. A part covers about a second at first and later a
fiftieth of the run's age: a day of training makes some 400 parts, and what can be seen is never older than 2 %.
In Ray, Prometheus sees them too (`gauges.py`).
"""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from tradewind.records import StepMetrics
from tradewind.training.gauges import gauges_of
from tradewind.training.run import RunFiles

SHORTEST_S = 1.0
SHARE_OF_AGE = 0.02


class MetricsWriter:
    """Collects steps and writes them as parts; with `writes=False` it does nothing, for the ranks that need not."""

    def __init__(self, files: RunFiles, *, writes: bool) -> None:
        self._files = files
        self._writes = writes
        self._gauges = gauges_of(files.run) if writes else None
        self._lines: list[str] = []
        self._written_at = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        if self._lines:
            self._flush()
        if self._gauges:
            self._gauges.set()

    def write(self, metrics: StepMetrics) -> None:
        if not self._writes:
            return
        if self._gauges:
            self._gauges.take(metrics)
        self._lines.append(metrics.model_dump_json())
        due = self._written_at + max(SHORTEST_S, SHARE_OF_AGE * metrics.seconds)
        if time.monotonic() >= due or metrics.heldout_loss is not None:
            self._flush()

    def _flush(self) -> None:
        name = f"metrics/{time.time_ns():020d}.jsonl"
        self._files.store.put(self._files.key(name), "\n".join(self._lines).encode())
        self._lines.clear()
        self._written_at = time.monotonic()
