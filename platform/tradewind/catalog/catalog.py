"""What can be had where, and at which price: tables that come with the package, newer price lists, and overlays."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache, cached_property
from itertools import islice
from operator import attrgetter
from types import MappingProxyType
from typing import Final, NoReturn

from tradewind.catalog.chip import Chip
from tradewind.catalog.instance import Instance
from tradewind.catalog.offer import Market, Offer
from tradewind.catalog.offers import Offers
from tradewind.catalog.overlay import Facts, Overlay
from tradewind.catalog.price import Price
from tradewind.catalog.price_list import read_prices
from tradewind.catalog.region import Region
from tradewind.catalog.tables import SHIPPED, shipped_chips, shipped_files, shipped_instances, shipped_regions
from tradewind.errors import IntegrityError, NotFoundError, did_you_mean
from tradewind.specs.catalog import CatalogSpec

NO_DOLLARS: Final = "no price in dollars"
SHARE: Final = "a share of an accelerator, or their number is not known"
NO_SIZE: Final = "processors and memory are not known"

_LIST = re.compile(r"(\d{4}-\d{2}-\d{2})/prices-([a-z0-9]+)\.csv")


def load_catalog(
    files: Mapping[str, bytes] = MappingProxyType({}),
    *,
    overlays: Sequence[CatalogSpec] = (),
    at: date | None = None,
) -> Catalog:
    """The catalogue as it was on a day, by default as it is now.

    `files` are price lists by name, like `2026-12-01/prices-aws.csv`. Of each cloud the newest one that is not after
    `at` counts, whole; where there is none, what comes with the package. Tables are read when they are first asked for,
    and then raise IntegrityError for a damaged file; SpecError and NotFoundError are for overlays that do not fit.
    """
    if not files and not overlays and at is None:
        return _plain()
    return Catalog(files, overlays, at)


@dataclass(frozen=True)
class PriceList:
    """Where the prices of a cloud are from."""

    cloud: str
    day: date
    where: str
    prices: tuple[Price, ...]


class Catalog:
    """Made by `load_catalog`."""

    def __init__(self, files: Mapping[str, bytes], overlays: Sequence[CatalogSpec], at: date | None) -> None:
        self.at = at
        self._files = {cloud: (where, files[where]) for cloud, where in newest_lists(files, at).items()}
        self._overlays = tuple(overlays)

    @cached_property
    def chips(self) -> Mapping[str, Chip]:
        """By name, those of overlays among them."""
        return {**shipped_chips(), **self._overlay.own.chips}

    @cached_property
    def instances(self) -> Mapping[tuple[str, str], Instance]:
        """Machine types by cloud and name."""
        return {**shipped_instances(), **self._overlay.own.instances}

    @cached_property
    def regions(self) -> Mapping[tuple[str, str], Region]:
        """By cloud and name."""
        return {**shipped_regions(), **self._overlay.own.regions}

    @property
    def clouds(self) -> list[str]:
        return sorted({cloud for cloud, _ in self.regions})

    def chip(self, name: str) -> Chip:
        """A chip by its whole name, whatever its case. Raises NotFoundError with the nearest name."""
        found = next((chip for known, chip in self.chips.items() if known.casefold() == name.casefold()), None)
        return found or _missing("chip", name, self.chips)

    def instance(self, cloud: str, name: str) -> Instance:
        """A machine type. Raises NotFoundError with the nearest name."""
        self._check_cloud(cloud)
        known = [one for of, one in self.instances if of == cloud]
        return self.instances.get((cloud, name)) or _missing(f"machine type of {cloud}", name, known)

    def region(self, cloud: str, name: str) -> Region:
        """A region. Raises NotFoundError with the nearest name."""
        self._check_cloud(cloud)
        known = [one for of, one in self.regions if of == cloud]
        return self.regions.get((cloud, name)) or _missing(f"region of {cloud}", name, known)

    def offers(
        self,
        *,
        gpu: str | None = None,
        cloud: str | None = None,
        region: str | None = None,
        country: str | None = None,
        market: Market | None = None,
        max_price: float | None = None,
        max_price_per_chip: float | None = None,
        min_chips: int | None = None,
        min_memory_bytes: int | None = None,
        limit: int | None = None,
    ) -> Offers:
        """What can be had, cheapest first.

        `gpu` is a chip or a family: `H100` means H100-SXM, H100-PCIe and H100-NVL, `h100-sxm` that one alone.
        `max_price` is in dollars an hour for a machine, `min_memory_bytes` is the memory of one chip.
        Raises NotFoundError, with the nearest name, for a chip, cloud, region or country that is not known.
        """
        chips = self._chips_named(gpu) if gpu is not None else None
        clouds = self._clouds_named(cloud)
        regions = self._regions_named(region, clouds) if region is not None else None
        land = self._country_named(country) if country is not None else None
        found = (
            offer
            for offer in self.all_offers
            if (chips is None or offer.instance.chip in chips)
            and (cloud is None or offer.region.cloud in clouds)
            and (regions is None or offer.region.name in regions)
            and (land is None or offer.region.country == land)
            and (market is None or offer.market == market)
            and (max_price is None or offer.usd_per_hour <= max_price)
            and (max_price_per_chip is None or _at_most(offer.usd_per_chip_hour, max_price_per_chip))
            and (min_chips is None or offer.chips >= min_chips)
            and (min_memory_bytes is None or _chip_memory(offer) >= min_memory_bytes)
        )
        return Offers(_first(found, limit))

    @property
    def all_offers(self) -> Offers:
        return self._priced[0]

    @property
    def left_out(self) -> Mapping[str, int]:
        """How many rows of the price lists are no offers, by the reason."""
        return self._priced[1]

    @cached_property
    def price_lists(self) -> tuple[PriceList, ...]:
        """One for each cloud that has prices, by its name."""
        found = dict(_shipped_lists())
        for cloud, (where, data) in self._files.items():
            day, _ = parse_list_name(where)
            found[cloud] = PriceList(cloud, day, where, tuple(_only(cloud, _read(data, where), where)))
        return tuple(found[cloud] for cloud in sorted(found))

    @cached_property
    def _overlay(self) -> Overlay:
        listed = Facts(shipped_chips(), shipped_instances(), shipped_regions())
        return Overlay.of(self._overlays, self.at or date.today(), listed)

    @cached_property
    def _priced(self) -> tuple[Offers, Mapping[str, int]]:
        left_out: Counter[str] = Counter()
        found = [*self._list_offers(left_out), *self._overlay.offers()]
        found.sort(key=attrgetter("usd_per_hour"))  # equal ones stay in the order of clouds, and of their lists
        return Offers(found), left_out

    def _list_offers(self, left_out: Counter[str]) -> Iterator[Offer]:
        chips, instances, regions, overlay = self.chips, self.instances, self.regions, self._overlay
        for listed in self.price_lists:
            prices = [overlay.priced(row) for row in listed.prices]
            of_region = {(row.region, row.instance): row.on_demand_usd_per_hour for row in prices if not row.zone}
            for price in prices:
                instance = instances[price.cloud, price.instance]
                reason = _reason_against(price, instance)
                if reason:
                    left_out[reason] += 1
                    continue
                chip = chips[instance.chip] if instance.chip else None
                on_demand = price.on_demand_usd_per_hour or of_region.get((price.region, price.instance))
                yield from _offers_of(price, instance, chip, regions[price.cloud, price.region], on_demand)

    def _chips_named(self, name: str) -> Collection[str]:
        wanted = name.casefold()
        names = {known.casefold(): known for known in self.chips}
        if wanted in names:
            return {names[wanted]}
        family, *rest = wanted.split("-")
        found = {known for known in self.chips if _is_of(known.casefold(), family, rest)}
        return found or _missing("chip", name, {*self.chips, *(known.split("-")[0] for known in self.chips)})

    def _clouds_named(self, name: str | None) -> Collection[str]:
        if name is None:
            return self.clouds
        self._check_cloud(name.casefold())
        return {name.casefold()}

    def _regions_named(self, name: str, clouds: Collection[str]) -> Collection[str]:
        known = {region for cloud, region in self.regions if cloud in clouds}
        found = {region for region in known if region.casefold() == name.casefold()}
        return found or _missing("region", name, known)

    def _country_named(self, name: str) -> str:
        known = {region.country for region in self.regions.values() if region.country}
        return name.upper() if name.upper() in known else _missing("country", name, known)

    def _check_cloud(self, name: str) -> None:
        if name not in self.clouds:
            _missing("cloud", name, self.clouds)


@cache
def _plain() -> Catalog:
    return Catalog({}, (), None)


@cache
def _shipped_lists() -> Mapping[str, PriceList]:
    """By cloud; the prices of one may stand in several files."""
    found: dict[str, PriceList] = {}
    for where, data in shipped_files("prices"):
        for cloud, prices in _by_cloud(_read(data, where)).items():
            before = found.get(cloud)
            name, rows = (f"{before.where}, {where}", before.prices) if before else (where, ())
            found[cloud] = PriceList(cloud, SHIPPED, name, (*rows, *prices))
    return found


def _read(data: bytes, where: str) -> list[Price]:
    return read_prices(data, where, regions=shipped_regions(), instances=shipped_instances())


def newest_lists(names: Iterable[str], at: date | None = None) -> dict[str, str]:
    """Of each cloud the name of its newest price list that is not after a day. Raises IntegrityError."""
    newest: dict[str, tuple[date, str]] = {}
    for where in names:
        day, cloud = parse_list_name(where)
        if (at is None or day <= at) and (cloud not in newest or newest[cloud][0] < day):
            newest[cloud] = (day, where)
    return {cloud: where for cloud, (_, where) in newest.items()}


def parse_list_name(where: str) -> tuple[date, str]:
    """Day and cloud of a price list by its name. Raises IntegrityError for another name."""
    match = _LIST.fullmatch(where)
    try:
        if match:
            return date.fromisoformat(match[1]), match[2]
    except ValueError:
        pass
    raise IntegrityError(f"{where!r} is no price list", hint="they are named like 2026-12-01/prices-aws.csv")


def _by_cloud(prices: Iterable[Price]) -> dict[str, list[Price]]:
    found: dict[str, list[Price]] = {}
    for price in prices:
        found.setdefault(price.cloud, []).append(price)
    return found


def _only(cloud: str, prices: Iterable[Price], where: str) -> Iterator[Price]:
    for price in prices:
        if price.cloud != cloud:
            raise IntegrityError(f"{where} has a price of {price.cloud}", hint=f"it is the price list of {cloud}")
        yield price


def _reason_against(price: Price, instance: Instance) -> str:
    """Why a price is no offer, or nothing."""
    if price.on_demand_usd_per_hour is None and price.spot_usd_per_hour is None:
        return NO_DOLLARS
    if instance.chips is None:
        return SHARE
    return NO_SIZE if instance.vcpus is None or instance.memory_bytes is None else ""


def _offers_of(
    price: Price, instance: Instance, chip: Chip | None, region: Region, on_demand: float | None
) -> Iterator[Offer]:
    """`on_demand` is what spot prices are compared with: that of the zone, or else of the region."""
    found: tuple[tuple[Market, float | None], ...] = (
        ("on_demand", price.on_demand_usd_per_hour),
        ("spot", price.spot_usd_per_hour),
    )
    for market, usd in found:
        if usd is not None:
            yield Offer(
                instance, chip, region, price.zone, market, usd, on_demand, price.as_of, price.source, price.note
            )


def _is_of(name: str, family: str, rest: Sequence[str]) -> bool:
    """Whether `a100-pcie-80gb` is of `a100` or of `a100-80gb`."""
    first, *parts = name.split("-")
    return first == family and set(rest) <= set(parts)


def _at_most(price: float | None, limit: float) -> bool:
    return price is not None and price <= limit


def _chip_memory(offer: Offer) -> int:
    return (offer.chip.memory_bytes or 0) if offer.chip else 0


def _first(offers: Iterable[Offer], limit: int | None) -> Iterable[Offer]:
    return offers if limit is None else islice(offers, limit)


def _missing(what: str, name: str, known: Iterable[str]) -> NoReturn:
    raise NotFoundError(f"no {what} named {name!r}{did_you_mean(name, known)}")
