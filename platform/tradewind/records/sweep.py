"""The records of a sweep: how it began, and in pages all that happened, in order.

They are the whole truth: a searcher and a scheduler that are told the events again, in order, know what they knew. A
page is written with put-if-absent, so of two drivers of one sweep the second to write page n finds out.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from tradewind.records.base import Fact, Record, now
from tradewind.records.machine import Machine, ProcessName

TrialStatus = Literal["running", "finished", "pruned", "failed"]
SweepStatus = Literal["running", "finished", "stopped", "failed"]


class SweepStart(Record):
    kind: ClassVar[str] = "tune"

    sweep: str
    spec: dict[str, Any]
    machine: Machine
    """Of the driver."""
    process: ProcessName
    versions: dict[str, str] = Field(default_factory=dict)
    team: str = ""
    datasets: dict[str, float] = Field(default_factory=dict)
    """Every dataset version with its weight: those of all trials, unless they are searched."""
    estimate_usd: float = 0.0
    """What one trial was expected to cost; 0 on this machine."""

    @property
    def id(self) -> str:
        return f"{self.kind}:{self.sweep}"


class TrialStart(Fact):
    """A configuration begins. `values` are by dotted key of the training spec; one without its condition is absent."""

    what: Literal["start"] = "start"
    at: datetime = Field(default_factory=now)
    number: int
    values: dict[str, Any]
    run: str
    """Its run's name; "" where the configuration was refused before there was one."""
    parent: int | None = None
    """The trial whose checkpoint it began with, where the scheduler is pbt."""


class TrialReport(Fact):
    """The objective at a checkpoint."""

    what: Literal["report"] = "report"
    at: datetime = Field(default_factory=now)
    number: int
    step: int
    objective: float
    seconds: float = 0.0
    """Training time of the run until then."""
    machine_s: float = 0.0
    """Seconds of workers that the trial has taken so far, lost ones included."""
    cost_usd: float = 0.0


class TrialPreempted(Fact):
    """A worker vanished or left on a notice; the trial goes on elsewhere from its last checkpoint. Not its fault."""

    what: Literal["preempted"] = "preempted"
    at: datetime = Field(default_factory=now)
    number: int
    message: str
    noticed: bool = False
    """Whether it was told before and left with a checkpoint."""
    step: int = 0
    """Of the checkpoint that it goes on from."""
    reached: int = 0
    """The last step it is known to have done: what is above `step` is done again."""


class TrialFailed(Fact):
    """An error of the trial's own, after which it is tried again."""

    what: Literal["error"] = "error"
    at: datetime = Field(default_factory=now)
    number: int
    message: str
    log: tuple[str, ...] = ()


class TrialEnd(Fact):
    """`objective` is the best that was reported; None where nothing was. `log` holds the last lines of a failure."""

    what: Literal["end"] = "end"
    at: datetime = Field(default_factory=now)
    number: int
    status: Literal["finished", "pruned", "failed"]
    objective: float | None = None
    step: int = 0
    cost_usd: float = 0.0
    machine_s: float = 0.0
    message: str = ""
    log: tuple[str, ...] = ()


class SweepGuarded(Fact):
    """What a guard decided, once for each change of mind, with the numbers it went by."""

    what: Literal["guard"] = "guard"
    at: datetime = Field(default_factory=now)
    guard: Literal["price", "budget"]
    action: str
    """Like run, pause, on_demand, full."""
    message: str
    numbers: dict[str, float] = Field(default_factory=dict)


class SweepResumed(Fact):
    """Since then `process` drives the sweep, by `spec`. Trials without an end go on from their last checkpoint."""

    what: Literal["resumed"] = "resumed"
    at: datetime = Field(default_factory=now)
    process: ProcessName
    spec: dict[str, Any]


class SweepEnd(Fact):
    """`best` is the number of the best trial. A sweep that ends can go on."""

    what: Literal["sweep end"] = "sweep end"
    at: datetime = Field(default_factory=now)
    status: Literal["finished", "stopped", "failed"]
    message: str = ""
    best: int | None = None
    objective: float | None = None
    cost_usd: float = 0.0
    machine_s: float = 0.0


SweepEvent = Annotated[
    TrialStart | TrialReport | TrialPreempted | TrialFailed | TrialEnd | SweepGuarded | SweepResumed | SweepEnd,
    Field(discriminator="what"),
]


class SweepPage(Record):
    """Events in the order in which they were decided. The pages of a sweep are numbered from 1 without a gap."""

    kind: ClassVar[str] = "tune page"

    sweep: str
    number: int
    process: ProcessName
    events: tuple[SweepEvent, ...]

    @property
    def id(self) -> str:
        return f"{self.kind}:{self.sweep}/{self.number}"


class SweepStop(Record):
    """While it is there, the sweep's trials leave behind a checkpoint and none are started."""

    kind: ClassVar[str] = "tune stop"

    sweep: str
    host: str
    """Of who asked."""

    @property
    def id(self) -> str:
        return f"{self.kind}:{self.sweep}"
