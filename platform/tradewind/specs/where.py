"""Where work may run and within which limits: what a plan keeps to."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat

from tradewind.specs.base import Block
from tradewind.units import Seconds


class WhereSpec(Block):
    """Limits hold if even the upper end of a prediction's interval keeps them. What is left out is not limited."""

    clouds: tuple[str, ...] = Field(default=(), description="names of clouds, like aws; `local` is this machine")
    chips: tuple[str, ...] = Field(default=(), description="names of accelerators, like H100; `cpu` for none")
    markets: tuple[Literal["on_demand", "spot", "reserved", "owned"], ...] = ()
    residency: tuple[str, ...] = Field(
        default=(), description="countries like DE, `EU`, or places like aws/eu-*: where data and machines may be"
    )
    max_machines: int = Field(default=64, ge=1, le=4096)
    deadline_s: Seconds | None = Field(default=None, gt=0, description="from now to the result")
    budget_usd: PositiveFloat | None = Field(default=None, description="dollars for all of it; also kept at the start")
    carbon_kg: PositiveFloat | None = Field(default=None, description="carbon dioxide equivalents, in kg")
    effort_days: float | None = Field(default=None, ge=0, description="person-days to move to another cloud")
