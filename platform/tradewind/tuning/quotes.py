"""Where the price of a machine is from: the catalogue, the records of a cluster, or nobody asks for money.

What a cluster has launched is newer than any list, so its spot prices go before those of the catalogue.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from tradewind.catalog import Catalog
from tradewind.records import Attempt, Launch, Machine
from tradewind.storage import RecordLog, Store
from tradewind.tuning.prices import OWN, Choice, PriceGuard, Quote

CLUSTERS = "clusters"
LAUNCHES = 50
"""So many of a cluster's newest launches are read."""
FIRST = datetime(1, 1, 1, tzinfo=UTC)


def machine_quote(machine: Machine) -> Quote:
    """The price that a machine has been given by its user; nothing for one without a price."""
    if not machine.usd_per_hour:
        return replace(OWN, what=machine.host or OWN.what)
    return Quote(spot_usd=None, on_demand_usd=machine.usd_per_hour, what=machine.host)


@dataclass(frozen=True)
class Prices:
    """Asked again and again, what a guard says to the machines that a sweep is on now.

    On a cluster that this workspace has records of, those are its candidates, of which the cluster itself takes the
    cheapest first as well; elsewhere it is the machine that asks.
    """

    store: Store
    machine: Machine
    catalog: Callable[[], Catalog]
    guard: Callable[[], PriceGuard]
    """With what has been seen until now."""
    on_cluster: Callable[[], bool]

    def __call__(self) -> Choice:
        guard = self.guard()
        launches = newest_launches(self.store) if self.on_cluster() else []
        if not launches:
            return guard.choose(machine_quote(self.machine))
        return guard.best(cluster_quotes(launches, self.catalog()).values())


def newest_launches(store: Store) -> list[Launch]:
    """Of workers, by the cluster of this workspace that launched last, oldest first."""
    logs = [RecordLog(store, f"{CLUSTERS}/{name}/launches", Launch) for name in store.folders(CLUSTERS)]
    found = [[log.read(number) for number in log.numbers()[-LAUNCHES:]] for log in logs]
    workers = [[one for one in launches if one.request and one.attempts] for launches in found]
    return max(workers, key=lambda launches: launches[-1].created_at if launches else FIRST, default=[])


def cluster_quotes(launches: Iterable[Launch], catalog: Catalog) -> dict[str, Quote]:
    """By candidate of a cluster's file, what it cost when it was last asked for. `launches` are oldest first.

    What a machine costs on demand is what the cluster paid for it, or else the catalogue's price in that place.
    """
    newest: dict[str, Attempt] = {}
    for launch in launches:
        newest |= {attempt.candidate: attempt for attempt in launch.attempts}
    paid = {one.machine: one.usd_per_hour for one in newest.values() if one.market == "on_demand"}
    return {name: _attempt_quote(one, paid.get(one.machine), catalog) for name, one in newest.items()}


def _attempt_quote(attempt: Attempt, paid_usd: float | None, catalog: Catalog) -> Quote:
    what = f"{attempt.machine} in {attempt.place}"
    if attempt.market == "owned":
        return replace(OWN, what=what)
    if attempt.market == "spot":
        on_demand_usd = paid_usd if paid_usd is not None else _listed_usd(catalog, attempt)
        return Quote(spot_usd=attempt.usd_per_hour, on_demand_usd=on_demand_usd, what=what)
    return Quote(spot_usd=None, on_demand_usd=attempt.usd_per_hour, what=what)


def _listed_usd(catalog: Catalog, attempt: Attempt) -> float | None:
    """On demand in the region that a place is in, or is."""
    there = (
        offer.usd_per_hour
        for offer in catalog.all_offers
        if offer.market == "on_demand"
        and offer.instance.name == attempt.machine
        and _is_in(attempt.place, offer.region.name)
    )
    return min(there, default=None)


def _is_in(place: str, region: str) -> bool:
    """Whether a place is that region or a zone of it: `us-east-1a` is in `us-east-1`, not in `us-east-11`."""
    return re.fullmatch(r"(-?[a-z])?", place.removeprefix(region)) is not None and place.startswith(region)
