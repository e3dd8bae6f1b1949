"""What a plan is asked: the work, its limits, and what is known around it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tradewind.catalog import Chip
from tradewind.planner.spot import Hazard
from tradewind.planner.starts import Signal
from tradewind.planner.work import ServingWork, TrainingWork
from tradewind.records import UNKNOWN, Measurement, Place
from tradewind.specs import WhereSpec

LONGEST_H = 365 * 24.0
"""A result that takes longer than a year is none, where no deadline is given."""

START_S = 300.0
"""From asking for a machine to the first step: boot, image, load. An assumption: with accelerators it takes minutes."""

OWN_START_S = 10.0
"""The same where the machine is there: start of Ray and of the workers (measured on two processors, Ray 2.60)."""


@dataclass(frozen=True, eq=False)
class Question:
    work: TrainingWork | ServingWork
    limits: WhereSpec = field(default_factory=WhereSpec)
    home: Place = UNKNOWN
    """Where the workspace is: checkpoints and results go there."""
    measurements: Sequence[Measurement] = ()
    chips: Mapping[str, Chip] = field(default_factory=dict)
    """Figures of chips that were measured, so that similar ones learn from them."""
    hazard: Hazard = field(default_factory=Hazard)
    """Of losing a spot machine."""
    effort_days: Mapping[str, float] = field(default_factory=dict)
    """Person-days that moving to a cloud takes; a cloud that is not named takes none."""
    signals: Mapping[str, Signal] = field(default_factory=dict)
    """Hourly grams per kWh of regions like `aws/eu-west-1`."""
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def longest_h(self) -> float:
        return self.limits.deadline_s / 3600 if self.limits.deadline_s else LONGEST_H
