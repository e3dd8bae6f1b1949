"""Where data and machines may be: countries, the European Union, or places by pattern."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from tradewind.catalog import Region
from tradewind.errors import SpecError, did_you_mean

EU = frozenset({
    "AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE", "IT", "LT", "LU", "LV",
    "MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK",
})  # fmt: skip
"""ISO 3166 codes of the 27 member states (european-union.europa.eu, EU countries)."""


def is_allowed(region: Region, residency: Sequence[str]) -> bool:
    """Whether a region is in one of these countries, unions or places. One of unknown country is in none of them."""
    return not residency or any(_matches(region, rule) for rule in residency)


def check_residency(residency: Sequence[str], regions: Sequence[Region]) -> None:
    """Raises SpecError for a rule that no region of the catalogue can ever meet: a typing error would exclude all."""
    known = {region.country for region in regions if region.country} | {"EU"}
    places = {f"{region.cloud}/{region.name}" for region in regions}
    for rule in residency:
        if not any(_matches(region, rule) for region in regions):
            near = did_you_mean(rule, places if "/" in rule else known)
            raise SpecError(f"residency {rule!r} is nowhere in the catalogue{near}", hint="write DE, EU or aws/eu-*")


def _matches(region: Region, rule: str) -> bool:
    if "/" in rule:
        return fnmatchcase(f"{region.cloud}/{region.name}", rule)
    return region.country in EU if rule == "EU" else region.country == rule
