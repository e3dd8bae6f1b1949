"""Who drives a run and where its workers are, and the request that they stop."""

from __future__ import annotations

from typing import ClassVar

from tradewind.records.base import Fact, Record
from tradewind.records.machine import ProcessName


class RunWorker(Fact):
    rank: int
    host: str
    address: str
    """Of its node, as the others reach it."""
    node: str
    """Ray's id of the node."""
    pid: int
    chips: tuple[str, ...] = ()


class RunWorkers(Record):
    """The group of workers that started at `created_at`; the newest one of a run is the one that works."""

    kind: ClassVar[str] = "run workers"

    run: str
    workers: tuple[RunWorker, ...]

    @property
    def id(self) -> str:
        return f"{self.kind}:{self.run}/{self.created_at:%Y%m%d-%H%M%S-%f}"


class RunResumed(Record):
    """Since `created_at`, `process` drives the run, which had ended before, or whose driver had gone."""

    kind: ClassVar[str] = "run resumed"

    run: str
    process: ProcessName

    @property
    def id(self) -> str:
        return f"{self.kind}:{self.run}/{self.created_at:%Y%m%d-%H%M%S-%f}"


class StopRequest(Record):
    """While it is there, the run's workers stop behind a checkpoint, and none are started."""

    kind: ClassVar[str] = "stop request"

    run: str
    host: str
    """Of who asked."""

    @property
    def id(self) -> str:
        return f"{self.kind}:{self.run}"
