"""One end of a migration: a cloud, a region of it, and the machines that work there."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tradewind.catalog import Catalog, Chip, Instance, Market, Offer, Region
from tradewind.planner.migration.machines import nearest, typical
from tradewind.planner.migration.regions import main_region, nearest_region
from tradewind.planner.migration.wish import Wish
from tradewind.records import Place


@dataclass(frozen=True)
class Side:
    region: Region
    instance: Instance | None
    """None where nobody said which machines."""
    chip: Chip | None
    nodes: int

    @property
    def cloud(self) -> str:
        return self.region.cloud

    @property
    def place(self) -> Place:
        return Place(cloud=self.region.cloud, region=self.region.name)


def source_side(catalog: Catalog, wish: Wish) -> Side:
    """Where the work is now."""
    instance = None
    if wish.instance:
        instance = catalog.instance(wish.source, wish.instance)
    elif wish.gpu:
        instance = typical(catalog, wish.source, wish.gpu)
    if wish.source_region:
        region = catalog.region(wish.source, wish.source_region)
    else:
        offer = cheapest(catalog, instance) if instance else None
        region = offer.region if offer else main_region(catalog, wish.source)
    return Side(region, instance, catalog.chips.get(instance.chip) if instance else None, wish.nodes)


def target_side(catalog: Catalog, wish: Wish, before: Side) -> Side:
    """Where it goes, on as many chips as before."""
    instance = None
    if wish.target_instance:
        instance = catalog.instance(wish.target, wish.target_instance)
    elif before.instance:
        if wish.target_region:
            catalog.region(wish.target, wish.target_region)
        instance = nearest(catalog, before.instance, wish.target, region=wish.target_region)
    if wish.target_region:
        region = catalog.region(wish.target, wish.target_region)
    elif wish.target == wish.source:
        region = before.region
    else:
        sold = {offer.region.name for offer in catalog.all_offers if instance and offer.instance == instance}
        region = nearest_region(catalog, before.region, wish.target, sold)
    chips = (before.instance.chips or 1) * before.nodes if before.instance else 0
    nodes = math.ceil(chips / (instance.chips or 1)) if instance and chips else wish.nodes
    return Side(region, instance, catalog.chips.get(instance.chip) if instance else None, nodes)


def cheapest(
    catalog: Catalog, instance: Instance, *, region: str | None = None, market: Market = "on_demand"
) -> Offer | None:
    """The cheapest offer of a machine type, in a region or anywhere in its cloud."""
    return next(
        (
            offer
            for offer in catalog.all_offers
            if offer.market == market
            and (offer.instance.cloud, offer.instance.name) == (instance.cloud, instance.name)
            and region in (None, offer.region.name)
        ),
        None,
    )
