"""From what a spec names to machines with prices: offers, what spot machines cost in the end, and caps."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NoReturn, TypeVar

from tradewind.catalog import Catalog, Offer
from tradewind.clusters.render.candidate import OWNED, Candidate
from tradewind.clusters.render.images import is_arm
from tradewind.clusters.render.resources import Resources, is_gpu
from tradewind.errors import NoPlanError, NotFoundError, SpecError, did_you_mean
from tradewind.planner.spot import PRICE_CAP, Hazard, effective_usd_per_hour, rework_share
from tradewind.specs import CandidateSpec, ClusterSpec
from tradewind.specs.cluster import ONPREM
from tradewind.specs.document import Where
from tradewind.units import format_usd

CLOUDS = ("aws", "azure", "gcp")
"""That machines can be launched in."""
CHECKPOINT_S, RESTART_S = 600.0, 180.0
"""What a lost machine is reckoned to cost: half the time between checkpoints, and the time until another one works."""
NEAREST = 3

T = TypeVar("T")
At = Callable[[Where], str]
"""Where a part of the spec stands, for messages."""


def priced(spec: ClusterSpec, wish: CandidateSpec, catalog: Catalog, where: Where, at: At) -> Candidate:
    """A candidate with its resources and price.

    Raises NotFoundError with the nearest names for an unknown cloud, region, machine, chip or site, SpecError for what
    is not offered there.
    """
    cloud, region, zone = parts_of(wish.place)
    if cloud == ONPREM:
        return owned(spec, region, where, at)
    found = _offers(wish, catalog, where, at)
    offer = found.get("on_demand") or next(iter(found.values()))
    if not is_gpu(offer.chip):
        hint = "take a GPU, or no accelerator"
        raise SpecError(f"{at(where)}: {offer.instance.name} has {offer.instance.chip}, which is no GPU", hint=hint)
    if is_arm(cloud, offer.instance.name) and not ({cloud, f"{cloud}/{region}"} & spec.images.keys()):
        hint = f"name an image for ARM: images: {{{cloud}/{region}: …}}, or take another machine"
        raise SpecError(f"{at(where)}: {offer.instance.name} has ARM processors, and the image is for x86", hint=hint)
    resources = Resources(
        int(offer.instance.vcpus or 0), offer.instance.memory_bytes or 0, offer.instance.chip, offer.chips
    )
    listed = found.get(wish.market)
    on_demand = offer.on_demand_usd_per_hour or offer.usd_per_hour
    bid = on_demand * PRICE_CAP
    usd = listed.usd_per_hour if listed else bid
    rework = _rework() if wish.market == "spot" else 0.0
    return Candidate(
        cloud=cloud,
        region=region,
        zone=zone,
        machine=offer.instance.name,
        market=wish.market,
        resources=resources,
        usd_per_hour=usd,
        on_demand_usd_per_hour=on_demand,
        effective_usd_per_hour=effective_usd_per_hour(usd, rework),
        max_usd_per_hour=max(usd, bid) if wish.market == "spot" else usd,
        as_of=(listed or offer).as_of,
        listed=listed is not None,
    )


def owned(spec: ClusterSpec, site: str, where: Where, at: At) -> Candidate:
    """Machines of a site. Raises NotFoundError for one that the spec does not describe."""
    if site not in spec.sites:
        known = did_you_mean(site, spec.sites)
        raise NotFoundError(f"{at(where)}: no site named {site!r}{known}", hint=f"describe it: sites: {{{site}: …}}")
    here = spec.sites[site]
    usd = here.price_per_hour
    resources = Resources(here.cpus, here.memory, here.chip, here.chips)
    return Candidate(ONPREM, site, "", "", OWNED, resources, usd, usd, usd, usd, None, listed=True)


def in_price_order(candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """Cheapest in the end first; of equal prices, spot."""
    return tuple(sorted(candidates, key=lambda one: (one.effective_usd_per_hour, not one.is_spot, one.name)))


def under_cap(candidates: Iterable[Candidate], cap: float | None, where: Where, at: At) -> tuple[Candidate, ...]:
    """Those whose price is allowed. Raises NoPlanError with the nearest prices where none is."""
    everyone = in_price_order(candidates)
    found = tuple(one for one in everyone if cap is None or one.max_usd_per_hour <= cap)
    if found or cap is None:
        return found
    misses = [f"{one.name}: {format_usd(one.max_usd_per_hour)}/h" for one in everyone[:NEAREST]]
    raise NoPlanError(
        f"{at((*where, 'max_price_per_hour'))}: no candidate of group {where[-1]!r} costs at most {format_usd(cap)}/h",
        hint="raise max_price_per_hour, or add a candidate",
        misses=misses,
    )


def parts_of(place: str) -> tuple[str, str, str]:
    """Cloud, region and zone; the last may be empty."""
    cloud, region, *zone = place.split("/")
    return cloud, region, zone[0] if zone else ""


def check_place(place: str, catalog: Catalog, where: Where, at: At) -> None:
    """Raises NotFoundError with the nearest name for a cloud or a region that there is not."""
    cloud, region, _ = parts_of(place)
    if cloud not in CLOUDS:
        known = did_you_mean(cloud, (*CLOUDS, ONPREM))
        raise NotFoundError(f"{at((*where, 'place'))}: no cloud named {cloud!r} to launch machines in{known}")
    _named(lambda: catalog.region(cloud, region), (*where, "place"), at)


def _offers(wish: CandidateSpec, catalog: Catalog, where: Where, at: At) -> dict[str, Offer]:
    """By market. Prices of the zone go before those of the region."""
    check_place(wish.place, catalog, where, at)
    cloud, region, zone = parts_of(wish.place)
    if wish.machine:
        _named(lambda: catalog.instance(cloud, wish.machine), (*where, "machine"), at)
        wanted = [offer for offer in catalog.all_offers if _is(offer, cloud, wish.machine)]
    else:
        offers = _named(lambda: catalog.offers(gpu=wish.chip, cloud=cloud), (*where, "chip"), at)
        wanted = [offer for offer in offers if offer.chips == wish.chips]
    here = [offer for offer in wanted if offer.region.name == region and offer.zone in ("", zone)]
    if not here:
        _not_here(wish, wanted, where, at)
    machine = here[0].instance.name
    same = sorted((offer for offer in here if offer.instance.name == machine), key=lambda offer: offer.zone != zone)
    return {offer.market: offer for offer in reversed(same) if offer.market in ("on_demand", "spot")}


def _is(offer: Offer, cloud: str, machine: str) -> bool:
    return (offer.region.cloud, offer.instance.name) == (cloud, machine)


def _not_here(wish: CandidateSpec, elsewhere: list[Offer], where: Where, at: At) -> NoReturn:
    what = wish.machine or f"{wish.chips}× {wish.chip}"
    places = list(dict.fromkeys(f"{offer.region.cloud}/{offer.region.name}" for offer in elsewhere))[:NEAREST]
    hint = f"the cheapest places that have it: {', '.join(places)}" if places else "see `tw offers`"
    raise SpecError(f"{at((*where, 'place'))}: {what} has no price in {wish.place}", hint=hint)


def _named(find: Callable[[], T], where: Where, at: At) -> T:
    try:
        return find()
    except NotFoundError as exc:
        raise NotFoundError(f"{at(where)}: {exc.message}", hint=exc.hint) from exc


def _rework() -> float:
    return float(rework_share(Hazard().mean_per_hour, 1, CHECKPOINT_S, RESTART_S))
