"""Facts of the clouds: chips, machine types, prices, regions and tariffs, each with its source and its day."""

from tradewind.catalog.catalog import Catalog, load_catalog
from tradewind.catalog.chip import BITS, Chip, ChipKind, Precision
from tradewind.catalog.instance import Instance
from tradewind.catalog.offer import STALE_DAYS, Market, Offer
from tradewind.catalog.offers import Offers
from tradewind.catalog.price import Price
from tradewind.catalog.region import Region

__all__ = [
    "BITS",
    "STALE_DAYS",
    "Catalog",
    "Chip",
    "ChipKind",
    "Instance",
    "Market",
    "Offer",
    "Offers",
    "Precision",
    "Price",
    "Region",
    "load_catalog",
]
