"""What a team adds to the price lists: discounts on them, reservations, machines of its own."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from fnmatch import fnmatchcase
from typing import TypeVar

from tradewind.catalog.chip import Chip
from tradewind.catalog.instance import Instance
from tradewind.catalog.offer import Market, Offer
from tradewind.catalog.price import Price
from tradewind.catalog.region import Region
from tradewind.errors import NotFoundError, SpecError, did_you_mean
from tradewind.specs.catalog import DOLLAR, CatalogSpec, ChipSpec, DiscountSpec, HardwareSpec

T = TypeVar("T")
K = TypeVar("K", str, tuple[str, str])
Key = tuple[str, str]

ONPREM = "onprem"
"""The cloud that machines of one's own are in."""


@dataclass(frozen=True)
class Facts:
    """Chips by name, machine types and regions by cloud and name."""

    chips: Mapping[str, Chip]
    instances: Mapping[Key, Instance]
    regions: Mapping[Key, Region]


@dataclass(frozen=True)
class Overlay:
    """All overlays together, on one day."""

    specs: tuple[CatalogSpec, ...]
    day: date
    listed: Facts
    own: Facts
    """What they add to what is listed."""

    @classmethod
    def of(cls, specs: Sequence[CatalogSpec], day: date, listed: Facts) -> Overlay:
        """Raises NotFoundError for a chip that is not known, SpecError for one thing that is described in two ways."""
        chips: dict[str, Chip] = {}
        instances: dict[Key, Instance] = {}
        regions: dict[Key, Region] = {}
        for spec in specs:
            for chip in spec.chips:
                _add(chips, chip.name, _chip(spec, chip), listed.chips.get(chip.name))
        racks = set[Key]()
        for spec in specs:
            for hardware in spec.hardware:
                rack = (hardware.place, hardware.name)
                if rack in racks:
                    raise SpecError(f"{'/'.join(rack)} is there twice", hint="give the number of all its machines once")
                racks.add(rack)
                _check(spec, "chip", hardware.chip, ["", *chips, *listed.chips])
                _add(instances, (ONPREM, hardware.name), _instance(spec, hardware))
                _add(regions, (ONPREM, hardware.place), _region(spec, hardware))
        return cls(tuple(specs), day, listed, Facts(chips, instances, regions))

    def priced(self, price: Price) -> Price:
        """A row of a price list after exchange and discounts: of each market the first discount that fits it counts."""
        if not self.specs:
            return price
        on_demand = self._exchanged(price)
        return replace(
            price,
            on_demand_usd_per_hour=self._discounted(price, "on_demand", on_demand),
            spot_usd_per_hour=self._discounted(price, "spot", price.spot_usd_per_hour),
        )

    def offers(self) -> Iterator[Offer]:
        """Reservations that have not ended, and machines of one's own. Raises NotFoundError for unknown names."""
        for spec in self.specs:
            yield from self._reservations(spec)
            for hardware in spec.hardware:
                key = (ONPREM, hardware.name)
                yield self._offer(
                    spec, key, (ONPREM, hardware.place), "owned", hardware.price_per_hour, hardware.machines
                )

    def _exchanged(self, price: Price) -> float | None:
        if price.currency == DOLLAR or price.native_on_demand_per_hour is None:
            return price.on_demand_usd_per_hour
        rates = (spec.usd_per_unit[price.currency] for spec in self.specs if price.currency in spec.usd_per_unit)
        rate = next(rates, None)
        return None if rate is None else price.native_on_demand_per_hour * rate

    def _discounted(self, price: Price, market: str, usd: float | None) -> float | None:
        for spec in self.specs:
            for discount in spec.discounts:
                if usd is not None and _fits(discount, price, market):
                    return _after(spec, discount, usd)
        return usd

    def _reservations(self, spec: CatalogSpec) -> Iterator[Offer]:
        for one in spec.reservations:
            region, instance = (one.cloud, one.region), (one.cloud, one.instance)
            _check(spec, "cloud", one.cloud, {cloud for cloud, _ in self.listed.regions})
            _check(spec, "region", one.region, [name for cloud, name in self.listed.regions if cloud == one.cloud])
            _check(spec, "machine type", one.instance, [n for cloud, n in self.listed.instances if cloud == one.cloud])
            if one.until >= self.day:
                offer = self._offer(spec, instance, region, "reserved", one.price_per_hour, one.machines)
                yield replace(offer, zone=one.zone, note=f"until {one.until}")

    def _offer(
        self, spec: CatalogSpec, instance: Key, region: Key, market: Market, amount: str, machines: int
    ) -> Offer:
        found = self.own.instances.get(instance) or self.listed.instances[instance]
        chip = self.own.chips.get(found.chip) or self.listed.chips.get(found.chip)
        place = self.own.regions.get(region) or self.listed.regions[region]
        source = f"overlay {spec.name}"
        return Offer(found, chip, place, "", market, spec.usd(amount), None, self.day, source, limit=machines)


def _fits(discount: DiscountSpec, price: Price, market: str) -> bool:
    asked = (price.cloud, price.region, price.instance, market)
    patterns = (discount.cloud, discount.region, discount.instance, discount.market)
    return all(fnmatchcase(name, pattern) for name, pattern in zip(asked, patterns, strict=True))


def _after(spec: CatalogSpec, discount: DiscountSpec, usd: float) -> float:
    if discount.price_per_hour is not None:
        return spec.usd(discount.price_per_hour)
    return usd * (1 - (discount.percent or 0) / 100)


def _chip(spec: CatalogSpec, chip: ChipSpec) -> Chip:
    return Chip(
        name=chip.name,
        vendor=chip.vendor,
        kind=chip.kind,
        memory_bytes=chip.memory,
        flops=dict(chip.flops),
        memory_bytes_per_s=chip.memory_bytes_per_s,
        link=chip.link,
        link_bytes_per_s=chip.link_bytes_per_s,
        power_w=chip.power_w,
        runtime=chip.runtime,
        supports=frozenset(chip.flops),
        price_usd=None,
        source=f"overlay {spec.name}",
    )


def _instance(spec: CatalogSpec, hardware: HardwareSpec) -> Instance:
    return Instance(
        cloud=ONPREM,
        name=hardware.name,
        chip=hardware.chip,
        chips=hardware.chips,
        vcpus=hardware.processors,
        memory_bytes=hardware.memory,
        local_disk_bytes=hardware.local_disk,
        network_bytes_per_s=hardware.network_bytes_per_s,
        rdma=hardware.rdma,
        source=f"overlay {spec.name}",
        power_w=hardware.power_w,
    )


def _region(spec: CatalogSpec, hardware: HardwareSpec) -> Region:
    source = f"overlay {spec.name}"
    return Region(
        cloud=ONPREM,
        name=hardware.place,
        title="",
        country=hardware.country or "",
        latitude=None,
        longitude=None,
        carbon_g_per_kwh=hardware.carbon_g_per_kwh,
        carbon_year="",
        carbon_source=source if hardware.carbon_g_per_kwh is not None else "",
        pue=hardware.pue,
        pue_source=source if hardware.pue is not None else "",
        source=source,
    )


def _add(found: dict[K, T], key: K, one: T, listed: T | None = None) -> None:
    """Raises SpecError where another overlay, or the catalogue, says something else of the same name."""
    before = found.get(key, listed)
    if before is not None and _facts(before) != _facts(one):
        name = key if isinstance(key, str) else "/".join(key)
        raise SpecError(f"{name} is described in two ways", hint="give the second one another name, or the same facts")
    found[key] = one


def _facts(one: object) -> dict[str, object]:
    """What is said, without who says it."""
    return {name: value for name, value in vars(one).items() if not name.endswith("source")}


def _check(spec: CatalogSpec, what: str, name: str, known: Collection[str]) -> None:
    if name not in known:
        raise NotFoundError(f"overlay {spec.name}: no {what} named {name!r}{did_you_mean(name, known)}")
