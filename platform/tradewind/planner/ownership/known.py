"""What the catalogue knows about buying and renting a kind of chip, as ranges for the inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from tradewind.catalog import Catalog, Chip, Market
from tradewind.catalog.tco import TcoInput, tco_inputs
from tradewind.planner.ownership.case import Pays
from tradewind.planner.ownership.inputs import Known, items, span

NODE_PRICES: Mapping[str, str] = {"H100-SXM": "8x H100 SXM node purchase"}
NODE_POWERS: Mapping[str, str] = {"H100-SXM": "8x H100 node max power", "B200-SXM": "DGX B200 system max power"}
"""Chip → item of the catalogue that is about a machine with eight of them."""

CHIPS_OF_THOSE = 8

SHARE_OF_CHIPS = (0.6, 0.8)
"""What chips make of the price of a server, an assumption: eight H100 at their list price are 0.6 to 0.8 of one."""

OVER_CHIPS = (1.75, 2.05)
"""Full load of a server over the design power of its chips: 10.2 kW with eight H100, 14.3 kW with eight B200, 6.5 kW
with eight A100 (DGX A100 user guide) are 1.82, 1.79 and 2.03 times."""


def known(
    catalog: Catalog, chip: Chip, *, gpus_per_node: int, pays: Pays, cloud: str | None = None
) -> dict[str, Known]:
    """Ranges by input; an input that neither the catalogue nor its chips know is missing.

    What is paid always is a reservation. Where nobody's price of one is known, that of on-demand machines stands in.
    """
    found = {name: _item(item) for name, item in items().items()}
    found["node_usd"] = _node_price(chip, gpus_per_node)
    found["node_kw"] = _node_power(chip, gpus_per_node)
    markets: tuple[Market, ...] = ("on_demand",) if pays == "used" else ("reserved", "on_demand")
    prices = (rented(catalog, chip, gpus_per_node=gpus_per_node, market=one, cloud=cloud) for one in markets)
    found["usd_per_gpu_hour"] = next((price for price in prices if price), None)
    return {name: one for name, one in found.items() if one}


def excess_power(chip: Chip, *, gpus_per_node: int, node_kw: float) -> float | None:
    """A stated full load over the highest that such a server should draw; None where it is no more than that."""
    expected = _node_power(chip, gpus_per_node)
    return node_kw / expected.high if expected and node_kw > expected.high else None


def _node_price(chip: Chip, gpus: int) -> Known | None:
    item = NODE_PRICES.get(chip.name)
    if item and gpus == CHIPS_OF_THOSE:
        return _item(item)
    if chip.price_usd is None:
        return None
    low, high = (chip.price_usd * gpus / share for share in reversed(SHARE_OF_CHIPS))
    return Known(low, high, f"estimated: chips at their price are 60 to 80 % of a server; {chip.price_source}")


def _node_power(chip: Chip, gpus: int) -> Known | None:
    item = NODE_POWERS.get(chip.name)
    if item and gpus == CHIPS_OF_THOSE:
        return _item(item)
    if chip.power_w is None:
        return None
    low, high = (chip.power_w * gpus / 1000 * factor for factor in OVER_CHIPS)
    return Known(low, high, f"estimated: 1.75 to 2.05 times the design power of its chips, {chip.power_w:g} W each")


def rented(
    catalog: Catalog, chip: Chip, *, gpus_per_node: int, market: Market, cloud: str | None = None
) -> Known | None:
    """Dollars of a chip and hour on a market: the cheapest, up to the cheapest of the dearest cloud; None without any.

    Of machines with at least as many chips where there are such, else of all.
    """
    offers = catalog.offers(gpu=chip.name, cloud=cloud, market=market, min_chips=gpus_per_node)
    cheapest: dict[str, Known] = {}
    for offer in offers or catalog.offers(gpu=chip.name, cloud=cloud, market=market):
        price = offer.usd_per_chip_hour
        if price is not None and (offer.region.cloud not in cheapest or price < cheapest[offer.region.cloud].low):
            day = offer.as_of.isoformat() if offer.as_of else "no date"
            cheapest[offer.region.cloud] = Known(price, price, f"{offer.id} ({day})")
    found = span(cheapest[name] for name in sorted(cheapest))
    return replace(found, value=found.low) if found else None


def _item(item: str) -> Known | None:
    return span(_range(one) for one in tco_inputs() if one.item == item)


def _range(one: TcoInput) -> Known:
    unit = 0.01 if one.unit.startswith("percent") else 1.0
    return Known(one.low * unit, one.high * unit, one.source)
