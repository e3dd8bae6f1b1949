"""The record of where something ran."""

from __future__ import annotations

from datetime import date

from tradewind.records.base import Fact
from tradewind.records.place import UNKNOWN, Place


class Machine(Fact):
    host: str
    processor: str
    num_cpus: int
    memory_bytes: int
    usd_per_hour: float
    price_as_of: date | None = None
    """The day of that price; None where nobody knows."""
    place: Place = UNKNOWN
    device: str = "cpu"
    """Its chips; a machine without accelerators is one device, `cpu`."""
    devices: int = 1


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
