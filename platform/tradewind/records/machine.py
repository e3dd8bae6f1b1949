"""The record of where something ran."""

from __future__ import annotations

from tradewind.records.base import Fact


class Machine(Fact):
    host: str
    processor: str
    num_cpus: int
    memory_bytes: int
    usd_per_hour: float


class ProcessName(Fact):
    """A process, named so that a pid that is used again is not mistaken for it. `started` in seconds since 1970."""

    host: str
    pid: int
    started: float


class Effort(Fact):
    """What a piece of work took: wall time, processor time of its own processes, and what follows from the two."""

    seconds: float
    cpu_seconds: float
    energy_wh: float
    energy_basis: str = "estimated"
    usd: float
