"""One question of buying or renting: what is bought, what would be rented, and for how much use over which time."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from tradewind.errors import SpecError, did_you_mean
from tradewind.planner.ownership.hours import GpuRate, Month, month_hours

Pays = Literal["used", "always"]
"""On demand one pays for the hours that are `used`; a reservation is paid `always`."""

RESIDUAL_MONTHS = 36
"""What a residual share is stated for. Over another time it is taken as losing the same share each year."""


@dataclass(frozen=True)
class Purchase:
    """Machines of one's own. Shares are of the price of the servers; dollars a month are of all machines together."""

    nodes: int
    gpus_per_node: int
    node_usd: float
    network_share: float = 0.0
    storage_usd: float = 0.0
    cooling_usd: float = 0.0
    spares_share: float = 0.0
    """Bought with the servers, to stand in for what fails."""
    residual_share: float = 0.0
    """What the servers sell for after 36 months."""
    node_kw: float = 0.0
    """At full load."""
    idle_share: float = 0.0
    """Of that, without any load. Between the two, power grows in proportion to use."""
    pue: float = 1.0
    usd_per_kwh: float = 0.0
    space_usd_per_kw_month: float = 0.0
    """Rent of space for each kW that a machine may draw, without the electricity."""
    staff_fte_per_node: float = 0.0
    usd_per_fte_year: float = 0.0
    maintenance_share_per_year: float = 0.0
    other_usd_per_month: float = 0.0
    opportunity_usd: float = 0.0
    """Once, at the beginning: what else the time and the people would have earned. See `opportunity_usd`."""

    @property
    def gpus(self) -> int:
        return self.nodes * self.gpus_per_node

    @property
    def servers_usd(self) -> float:
        return self.nodes * self.node_usd

    @property
    def capital_usd(self) -> float:
        """Everything that is paid at the beginning."""
        shares = 1 + self.network_share + self.spares_share
        return self.servers_usd * shares + self.storage_usd + self.cooling_usd + self.opportunity_usd

    def residual_usd(self, months: float) -> float:
        share: float = self.residual_share ** (months / RESIDUAL_MONTHS)
        return self.servers_usd * share

    def power_usd_per_month(self, utilisation: float, month: Month) -> float:
        """Draw × PUE × price. The draw is linear in use, as Fan, Weber and Barroso found for servers (ISCA 2007)."""
        kw = self.nodes * self.node_kw * (self.idle_share + (1 - self.idle_share) * utilisation)
        return kw * self.pue * month_hours(month) * self.usd_per_kwh

    @property
    def standing_usd_per_month(self) -> float:
        """What does not depend on use: space, people, maintenance and the rest."""
        space = self.nodes * self.node_kw * self.space_usd_per_kw_month
        staff = self.nodes * self.staff_fte_per_node * self.usd_per_fte_year / 12
        return space + staff + self.servers_usd * self.maintenance_share_per_year / 12 + self.other_usd_per_month


@dataclass(frozen=True)
class Renting:
    usd_per_gpu_hour: GpuRate
    pays: Pays = "used"
    rent_other_usd_per_month: float = 0.0
    """Storage, egress and support that owning would not need."""


@dataclass(frozen=True)
class Terms:
    utilisation: float
    """Share of all hours of all chips in which they work: used time over owned time."""
    horizon_months: float
    month: Month = "730h"
    wacc: float = 0.0
    """Cost of capital a year: interest and the return that owners want, by their weights."""


@dataclass(frozen=True)
class Case:
    purchase: Purchase
    renting: Renting
    terms: Terms

    def __post_init__(self) -> None:
        for part in (self.purchase, self.renting, self.terms):
            for field in fields(part):
                _check(field.name, getattr(part, field.name))

    def with_value(self, name: str, value: float) -> Case:
        """A case with another number. Raises SpecError for a name that is none of the inputs."""
        for part in ("purchase", "renting", "terms"):
            if name in {field.name for field in fields(getattr(self, part))}:
                given: Any = GpuRate(value) if name == "usd_per_gpu_hour" else value
                return replace(self, **{part: replace(getattr(self, part), **{name: given})})
        known = [field.name for part in (Purchase, Renting, Terms) for field in fields(part)]
        raise SpecError(f"no input named {name!r}{did_you_mean(name, known)}")


SHARES = frozenset({"residual_share", "idle_share", "utilisation"})
"""What cannot be more than one."""

LEAST = {"nodes": 1.0, "gpus_per_node": 1.0, "pue": 1.0, "horizon_months": 1.0}


def energy_usd(*, kw: float, days: float, usd_per_kwh: float, pue: float = 1.0) -> float:
    """Electricity of a constant draw."""
    return kw * pue * days * 24 * usd_per_kwh


def opportunity_usd(
    *,
    setup_person_months: float = 0.0,
    usd_per_fte_year: float = 0.0,
    delay_months: float = 0.0,
    usd_per_month: float = 0.0,
) -> float:
    """What buying costs before it works: people who set it up, and what each month of waiting would have earned."""
    return setup_person_months * usd_per_fte_year / 12 + delay_months * usd_per_month


def cost_ratio_of_use(before: float, after: float) -> float:
    """Cost of the same work when chips are used for `after` instead of `before` of their time: `0.35 → 0.82` is 0.427.

    Both are shares of the same kind: of allocated, of used or of productive time, never one of each.
    """
    for name, share in (("before", before), ("after", after)):
        if not 0 < share <= 1:
            raise SpecError(f"utilisation {name} is {share}, and a share above 0 and up to 1 is needed")
    return before / after


def _check(name: str, value: Any) -> None:
    if not isinstance(value, int | float):
        return
    least, most = LEAST.get(name, 0.0), 1.0 if name in SHARES else math.inf
    if not (least <= value <= most and math.isfinite(value)):
        above = f" and at most {most:g}" if most < math.inf else ""
        raise SpecError(f"{name} is {value}, and a number of at least {least:g}{above} is needed")
