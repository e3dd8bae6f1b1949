"""The record of a team's budget."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Literal

from pydantic import Field

from tradewind.records.base import Fact, Record

Period = Literal["day", "week", "month", "total"]
"""In UTC. A week begins on Monday, a month on its first day; `total` began with the workspace."""


class Reservation(Fact):
    """The projected cost of a run or an endpoint, until the ledger says what it was."""

    nusd: int
    at: datetime


class BudgetChange(Record):
    """A step of an account: each record holds the whole account as it is after it, in billionths of a dollar.

    What was spent is not in it: that is what the ledger says.
    """

    kind: ClassVar[str] = "budget"

    change: int
    writer: str
    team: str
    limit_nusd: int | None
    """None: the budget was removed, and anything is admitted."""
    period: Period = "month"
    reserved: dict[str, Reservation] = Field(default_factory=dict)
    """By run or endpoint."""

    @property
    def id(self) -> str:
        return f"{self.kind}:{self.team}/{self.change}"
