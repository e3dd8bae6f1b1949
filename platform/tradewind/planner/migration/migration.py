"""What it takes to leave: what breaks, the fee and the time of moving the data, the effort, and the bill afterwards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from tradewind.catalog import Catalog, Offer
from tradewind.catalog.transfer import transfer_tariff
from tradewind.planner.effort import Effort, estimate
from tradewind.planner.migration.clouds import cloud_fact
from tradewind.planner.migration.differences import differences
from tradewind.planner.migration.rules import Finding
from tradewind.planner.migration.side import Side, cheapest, source_side, target_side
from tradewind.planner.migration.tasks import tasks_for
from tradewind.planner.migration.wish import Wish, checked
from tradewind.planner.ownership.hours import Month, NodeHours, NodeRate, month_hours

DAY_S = 86_400.0


@dataclass(frozen=True)
class DataMove:
    num_bytes: int
    usd: float
    """By the tariff of the source, its first month, in tiers."""
    seconds: float
    """At the bandwidth, without a break."""
    tariff_source: str
    is_known: bool = True
    """False where there is no tariff, and the dearest stands in for it."""


@dataclass(frozen=True)
class Bill:
    """A month of all machines, working all the time."""

    offer: Offer
    nodes: int
    usd_per_month: float


@dataclass(frozen=True)
class Migration:
    """All figures are `estimated`: prices from the catalogue, effort from the assumptions of its tasks."""

    wish: Wish
    before: Side
    after: Side
    findings: tuple[Finding, ...]
    """Blockers first, then risks, then what needs nothing."""
    data: DataMove
    effort: Effort
    bill_before: Bill | None
    """None without a machine, and where there is no price."""
    bill_after: Bill | None
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for `--json`."""
        return {
            "wish": asdict(self.wish),
            "before": _side_dict(self.before),
            "after": _side_dict(self.after),
            "findings": [asdict(finding) for finding in self.findings],
            "data": asdict(self.data),
            "effort": {**asdict(self.effort), "basis": "estimated"},
            "bill_before": _bill_dict(self.bill_before),
            "bill_after": _bill_dict(self.bill_after),
            "notes": list(self.notes),
        }


def estimate_migration(catalog: Catalog, wish: Wish) -> Migration:
    """The estimate.

    Raises NotFoundError with the nearest name for a cloud, region, chip or machine type that is not known, and
    SpecError for sizes that cannot be.
    """
    wish = checked(wish)
    for cloud in (wish.source, wish.target):
        catalog.offers(cloud=cloud, limit=0)  # an unknown cloud is named with the nearest, before anything else is
    before = source_side(catalog, wish)
    after = target_side(catalog, wish, before)
    data = _move(wish, before, after)
    bills = [_bill(catalog, side, wish.month) for side in (before, after)]
    found = differences(before, after, data_bytes=wish.data_bytes)
    topics = {finding.topic for finding in found if finding.differs}
    return Migration(
        wish=wish,
        before=before,
        after=after,
        findings=tuple(found),
        data=data,
        effort=estimate(tasks_for(topics, transfer_days=data.seconds / DAY_S), team=wish.team),
        bill_before=bills[0],
        bill_after=bills[1],
        notes=tuple(_notes(before, after, data, bills, catalog.at or date.today())),
    )


def _move(wish: Wish, before: Side, after: Side) -> DataMove:
    if before.place == after.place or not wish.data_bytes:
        return DataMove(0, 0.0, 0.0, "")
    tariff = transfer_tariff(before.place, after.place)
    seconds = wish.data_bytes / wish.bandwidth_bytes_per_s
    return DataMove(wish.data_bytes, tariff.usd(wish.data_bytes), seconds, tariff.source, tariff.is_known)


def _bill(catalog: Catalog, side: Side, month: Month) -> Bill | None:
    offer = cheapest(catalog, side.instance, region=side.region.name) if side.instance else None
    if offer is None:
        return None
    hours = NodeHours(side.nodes * month_hours(month))
    return Bill(offer, side.nodes, NodeRate(offer.usd_per_hour).cost_usd(hours))


def _notes(before: Side, after: Side, data: DataMove, bills: Sequence[Bill | None], today: date) -> Iterator[str]:
    fact = cloud_fact(before.cloud, "leaving") if before.cloud != after.cloud else None
    if fact:
        yield f"{before.cloud}: {fact.value} ({fact.source}); not counted here"
    if not data.is_known:
        yield f"the fee of moving data out of {before.place} is {data.tariff_source}"
    for side, bill in zip((before, after), bills, strict=True):
        if side.instance and bill is None:
            yield f"no on-demand price of {side.instance.name} in {side.place}: it may not be sold there"
        if bill and bill.offer.is_stale(today):
            yield f"the price of {bill.offer.id} is of {bill.offer.as_of or 'an unknown day'}: ask for today's"


def _side_dict(side: Side) -> dict[str, Any]:
    instance, chip = side.instance, side.chip
    return {
        "place": str(side.place),
        "instance": instance.name if instance else None,
        "chip": chip.name if chip else None,
        "nodes": side.nodes,
    }


def _bill_dict(bill: Bill | None) -> dict[str, Any] | None:
    if bill is None:
        return None
    day = bill.offer.as_of.isoformat() if bill.offer.as_of else None
    return {"offer": bill.offer.id, "as_of": day, "nodes": bill.nodes, "usd_per_month": bill.usd_per_month}
