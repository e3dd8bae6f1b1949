"""What it takes in person-days to work in another cloud than the one where the data is, for ranking and limits."""

from __future__ import annotations

from tradewind.catalog import Catalog
from tradewind.planner.migration import Wish, estimate_migration
from tradewind.records import Place


def moving_days(catalog: Catalog, home: Place) -> dict[str, float]:
    """Median person-days by cloud (estimated). None at home, and none from a folder: it stands in no cloud yet."""
    clouds = set(catalog.clouds)
    if home.cloud not in clouds:
        return {}
    others = clouds - {home.cloud}
    return {
        cloud: estimate_migration(catalog, Wish(home.cloud, cloud)).effort.p50_person_days for cloud in sorted(others)
    }
