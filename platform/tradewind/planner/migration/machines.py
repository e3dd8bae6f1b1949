"""Which machine there comes nearest to the one here."""

from __future__ import annotations

import math
from collections.abc import Iterator

from tradewind.catalog import Catalog, Chip, Instance
from tradewind.catalog.capabilities import FORMATS, chip_can
from tradewind.errors import NotFoundError, did_you_mean


def typical(catalog: Catalog, cloud: str, gpu: str) -> Instance:
    """The machine with the most chips of a kind, of those with a price the cheapest.

    Raises NotFoundError with the chips that the cloud has.
    """
    priced = catalog.offers(gpu=gpu, cloud=cloud, market="on_demand")
    if priced:
        return max(priced, key=lambda offer: (offer.chips, -offer.usd_per_hour)).instance
    known = {one.chip for one in _of(catalog, cloud) if one.chip}
    raise NotFoundError(
        f"{cloud} has no price of a machine with {gpu}{did_you_mean(gpu, known)}", hint="name its machine: --instance"
    )


def nearest(catalog: Catalog, instance: Instance, cloud: str, *, region: str | None = None) -> Instance | None:
    """The machine type of a cloud that is least unlike one; in a region, one with a price there if there is any.

    Order: the same chip; one of the same software with as much memory; one of the same software; any other. Then those
    with a price before those without. Then the smallest distance: number formats that are lost, and logarithms of the
    ratios of chips, their memory and speed, and of the machine's memory and processors.
    """
    if instance.cloud == cloud:
        return instance
    chip = catalog.chips.get(instance.chip)
    sold = {
        offer.instance.name
        for offer in catalog.all_offers
        if offer.region.cloud == cloud and region in (None, offer.region.name)
    }
    candidates = [one for one in _of(catalog, cloud) if bool(one.chip) == bool(instance.chip)]
    if region is not None:
        candidates = [one for one in candidates if one.name in sold] or candidates

    def unlike(one: Instance) -> tuple[int, bool, float, str]:
        its = catalog.chips.get(one.chip)
        return _rank(chip, its), one.name not in sold, _unlike(instance, one) + _chips_unlike(chip, its), one.name

    return min(candidates, key=unlike, default=None)


def _of(catalog: Catalog, cloud: str) -> Iterator[Instance]:
    """Whole machines of a cloud: those whose chips, processors and memory are known."""
    for one in catalog.instances.values():
        if one.cloud == cloud and one.chips is not None and one.vcpus and one.memory_bytes:
            yield one


def _rank(chip: Chip | None, its: Chip | None) -> int:
    if chip is None or its is None or chip.name == its.name:
        return 0
    if chip.runtime != its.runtime:
        return 3
    return 1 if (its.memory_bytes or 0) >= (chip.memory_bytes or math.inf) else 2


def _unlike(one: Instance, other: Instance) -> float:
    chips, memory = _doublings(one.chips, other.chips), _doublings(one.memory_bytes, other.memory_bytes)
    return 4 * chips + memory / 2 + _doublings(one.vcpus, other.vcpus) / 4


def _chips_unlike(chip: Chip | None, its: Chip | None) -> float:
    if chip is None or its is None:
        return 0.0
    lost = sum(chip_can(chip, name) is True and chip_can(its, name) is not True for name in FORMATS)
    memory, speed = (
        _doublings(chip.memory_bytes, its.memory_bytes),
        _doublings(chip.flops.get("bf16"), its.flops.get("bf16")),
    )
    return 2 * lost + 2 * memory + 2 * speed + _doublings(chip.memory_bytes_per_s, its.memory_bytes_per_s)


def _doublings(one: float | None, other: float | None) -> float:
    """How many lie between; one where either is not known."""
    return abs(math.log2(one / other)) if one and other else 1.0
