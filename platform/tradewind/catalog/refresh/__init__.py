"""Prices of today, from the clouds' own price APIs: one file for each cloud, and a line in `PRICE_APIS`."""

from tradewind.catalog.refresh.price_api import PRICE_APIS, PriceApi, refresh

__all__ = ["PRICE_APIS", "PriceApi", "refresh"]
