"""The price guard: spot machines only while they are cheap enough, and cheaper in the end than machines on demand.

It decides, and says why; it starts and stops nothing. Prices are of one machine for an hour, as a catalogue or the
records of a cluster have them (`tradewind.tuning.quotes`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal

from tradewind.errors import SpecError
from tradewind.planner.choice.question import START_S
from tradewind.planner.spot import PRICE_CAP, Hazard, effective_usd_per_hour, rework_share
from tradewind.units import format_usd

Way = Literal["own", "spot", "on_demand", "pause"]
"""`own`: machines that are paid for anyway. `pause`: no machine is worth its price now."""
Otherwise = Literal["pause", "on_demand"]


@dataclass(frozen=True)
class Quote:
    """What one machine costs for an hour at a moment."""

    spot_usd: float | None
    """None for a machine that is not rented on the spot market: then there is nothing to guard."""
    on_demand_usd: float | None
    """None where there is no such price. 0 for a machine that is paid for anyway."""
    what: str = ""
    """The machine and its place, in words."""

    @property
    def is_own(self) -> bool:
        return self.on_demand_usd == 0

    @property
    def share(self) -> float | None:
        """The spot price as a share of that on demand."""
        return self.spot_usd / self.on_demand_usd if self.spot_usd is not None and self.on_demand_usd else None


OWN = Quote(spot_usd=None, on_demand_usd=0.0, what="this machine")


@dataclass(frozen=True)
class Choice:
    """Which machines to work on at these prices."""

    way: Way
    usd_per_hour: float
    """What one machine is paid; 0 for own ones and for a pause."""
    effective_usd: float | None
    """What an hour of work on the spot market costs in the end; None without a price, and where work never ends."""
    quote: Quote
    reason: str
    """In a sentence."""

    cap: float

    @property
    def works(self) -> bool:
        return self.way != "pause"

    @property
    def numbers(self) -> dict[str, float]:
        """What was gone by, for the records. Prices that nobody knows are left out."""
        found = {
            "usd_per_hour": self.usd_per_hour,
            "cap": self.cap,
            "spot_usd": self.quote.spot_usd,
            "on_demand_usd": self.quote.on_demand_usd,
            "effective_usd": self.effective_usd,
        }
        return {name: value for name, value in found.items() if value is not None}


@dataclass(frozen=True)
class PriceGuard:
    """Spot machines start, and are kept, only while both hold:

    - spot price ≤ `cap` × price on demand;
    - effective price = spot price × (1 + rework + restart) < price on demand.

    With h interruptions of a machine in an hour, n machines a trial, c seconds between checkpoints and r seconds until
    it works again, an interruption loses c/2 + r on average. Of all time that is x = h · n · (c/2 + r) / 3600, so
    rework = h · n · c/2 / 3600 / (1 − x) and restart = h · n · r / 3600 / (1 − x) of the work, as in
    `tradewind.planner.spot.rework_share`. h is the posterior mean of what was seen, after a prior from traces of spot
    machines (`tradewind.planner.spot.SPOT`).

    Raises SpecError for a cap that is none.
    """

    cap: float = PRICE_CAP
    otherwise: Otherwise = "pause"
    """What is done while spot machines cost too much."""
    hazard: Hazard = field(default_factory=Hazard)
    machines: int = 1
    """Of one trial: when one goes, all wait."""
    checkpoint_s: float = 60.0
    restart_s: float = START_S
    """From the order of a machine to the first step, as the planner assumes it."""

    def __post_init__(self) -> None:
        if not 0 < self.cap < float("inf"):
            raise SpecError(
                f"a price cap of {self.cap:g} is no share of the price on demand", hint="use a number above 0, like 0.8"
            )

    @property
    def rework(self) -> float:
        """Work that is done again, as a share of the work; infinite where a trial never ends."""
        return self._lost * self._share_of_rework

    @property
    def restart(self) -> float:
        """Waiting for machines and starts, as a share of the work."""
        return self._lost * (1 - self._share_of_rework)

    def effective_usd(self, spot_usd: float) -> float:
        """Dollars for an hour of work on the spot market, in the end."""
        return float(effective_usd_per_hour(spot_usd, self._lost))

    def seen(self, interruptions: int, machine_hours: float) -> PriceGuard:
        """The guard with the hazard that follows from what a sweep, or a cluster, has seen in all."""
        return replace(self, hazard=replace(self.hazard, interruptions=interruptions, machine_hours=machine_hours))

    def choose(self, quote: Quote) -> Choice:
        """What to work on at this price, both to start and to go on."""
        if quote.is_own:
            return self._choice(
                "own", 0.0, quote, f"{quote.what or 'the machine'} is paid for: its time alone is counted"
            )
        if quote.spot_usd is None and quote.on_demand_usd is not None:
            reason = f"on demand at {format_usd(quote.on_demand_usd)} an hour: {quote.what or 'it'} is no spot machine"
            return self._choice("on_demand", quote.on_demand_usd, quote, reason)
        complaint = self._complaint(quote)
        if complaint is None:
            spot = quote.spot_usd or 0.0
            return self._choice("spot", spot, quote, self._praise(spot, quote.on_demand_usd or 0.0))
        if self.otherwise == "on_demand" and quote.on_demand_usd is not None:
            reason = f"on demand at {format_usd(quote.on_demand_usd)} an hour, since {complaint}"
            return self._choice("on_demand", quote.on_demand_usd, quote, reason)
        return self._choice("pause", 0.0, quote, f"paused, since {complaint}")

    def best(self, quotes: Iterable[Quote]) -> Choice:
        """Of several machines that would do, the cheapest in the end: one on demand where spot costs too much.

        Raises SpecError when there is none.
        """
        choices = [self.choose(quote) for quote in quotes]
        if not choices:
            raise SpecError("there is no machine to have a price", hint="name candidates in the cluster's file")
        return min(choices, key=_rank)

    def _choice(self, way: Way, usd_per_hour: float, quote: Quote, reason: str) -> Choice:
        effective = self.effective_usd(quote.spot_usd) if quote.spot_usd is not None else float("inf")
        known = effective if effective < float("inf") else None
        return Choice(way, usd_per_hour, known, quote, reason, self.cap)

    @property
    def _lost(self) -> float:
        machines = float(self.machines)
        return float(rework_share(self.hazard.mean_per_hour, machines, self.checkpoint_s, self.restart_s))

    @property
    def _share_of_rework(self) -> float:
        lost_s = self.checkpoint_s / 2 + self.restart_s
        return self.checkpoint_s / 2 / lost_s if lost_s else 0.0

    def _complaint(self, quote: Quote) -> str | None:
        """Why spot machines are not taken; None when they are."""
        spot, on_demand = quote.spot_usd, quote.on_demand_usd
        of = f" of {quote.what}" if quote.what else ""
        if spot is None or on_demand is None:
            return f"no price on demand{of} is known; one can be stated with `tw catalog apply`"
        price = f"the spot price{of}, {format_usd(spot)} an hour,"
        if spot > self.cap * on_demand:
            limit = f"the cap of {self.cap:.0%} of the {format_usd(on_demand)} on demand"
            return f"{price} is {spot / on_demand:.0%}, above {limit}"
        effective = self.effective_usd(spot)
        if effective == float("inf"):
            return f"at {self._interruptions} work on the spot market would never end"
        if effective >= on_demand:
            return (
                f"{price} becomes {format_usd(effective)} with {self.rework:.0%} of rework and {self.restart:.0%} of"
                f" restarts at {self._interruptions}: no less than the {format_usd(on_demand)} on demand"
            )
        return None

    def _praise(self, spot_usd: float, on_demand_usd: float) -> str:
        return (
            f"spot at {format_usd(spot_usd)} an hour, {spot_usd / on_demand_usd:.0%} of the {format_usd(on_demand_usd)}"
            f" on demand (cap {self.cap:.0%}); with what interruptions lose {format_usd(self.effective_usd(spot_usd))}"
        )

    @property
    def _interruptions(self) -> str:
        return f"{self.hazard.mean_per_hour * self.machines:.2g} interruptions an hour"


def _rank(choice: Choice) -> tuple[bool, float]:
    """Work before a pause, and then by what an hour of work costs in the end."""
    paid = choice.effective_usd if choice.way == "spot" else choice.usd_per_hour
    return not choice.works, paid or 0.0
