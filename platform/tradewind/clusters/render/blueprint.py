"""A cluster spec with everything worked out: machines with prices, alike resources, how many there may be."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tradewind.catalog import Catalog
from tradewind.clusters.render.candidate import Candidate
from tradewind.clusters.render.pricing import At, in_price_order, owned, parts_of, priced, under_cap
from tradewind.clusters.render.resources import Resources
from tradewind.errors import QuotaError, SpecError
from tradewind.specs import CandidateSpec, ClusterSpec, GroupSpec
from tradewind.specs.cluster import ONPREM
from tradewind.specs.document import Where
from tradewind.units import format_bytes, format_usd


@dataclass(frozen=True)
class Group:
    """Workers that are alike to Ray."""

    name: str
    resources: Resources
    candidates: tuple[Candidate, ...]
    """Cheapest in the end first."""
    too_dear: tuple[Candidate, ...]
    """Left out, since one machine may not cost as much."""
    min: int
    max: int

    @property
    def dearest_usd_per_hour(self) -> float:
        return max(one.max_usd_per_hour for one in self.candidates)


@dataclass(frozen=True)
class Blueprint:
    spec: ClusterSpec
    head: Candidate
    groups: tuple[Group, ...]
    max_workers: int
    """As many as cost no more than allowed, whichever they are."""

    @property
    def clouds(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(one.cloud for one in self.candidates))

    @property
    def places(self) -> tuple[tuple[str, str], ...]:
        """Cloud and region of all machines: each is a network of its own."""
        return tuple(dict.fromkeys((one.cloud, one.region) for one in self.candidates))

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """All, the head's first."""
        return (self.head, *(one for group in self.groups for one in group.candidates))

    @property
    def most_usd_per_hour(self) -> float:
        """What the head and the dearest workers cost together."""
        return self.head.usd_per_hour + sum(_dearest_first(self.groups)[: self.max_workers])


def blueprint(spec: ClusterSpec, catalog: Catalog, *, at: At | None = None) -> Blueprint:
    """Work a spec out. `at` says where a part of it stands, for messages.

    Raises SpecError, NotFoundError with the nearest names, NoPlanError with the nearest prices, and QuotaError where
    the limit on dollars an hour leaves no room.
    """
    at = at or _dotted
    head = _head(spec, catalog, at)
    groups = tuple(_group(spec, name, group, catalog, at) for name, group in spec.groups.items())
    return Blueprint(spec, head, groups, _max_workers(spec, head, groups, at))


def _head(spec: ClusterSpec, catalog: Catalog, at: At) -> Candidate:
    where: Where = ("head",)
    cloud, site, _ = parts_of(spec.head.place)
    if cloud == ONPREM:
        found = owned(spec, site, where, at)
    else:
        wish = CandidateSpec(place=spec.head.place, machine=spec.head.machine)
        found = priced(spec, wish, catalog, where, at)
    if found.resources.chips and cloud != ONPREM:
        raise SpecError(
            f"{at((*where, 'machine'))}: {found.machine} has {found.resources.chips}× {found.resources.chip};"
            " a head does no work, and accelerators would be paid for nothing",
            hint="take a machine without accelerators for the head",
        )
    if not found.listed:
        raise SpecError(f"{at((*where, 'machine'))}: {found.machine} has no price on demand in {found.place}")
    return found


def _group(spec: ClusterSpec, name: str, group: GroupSpec, catalog: Catalog, at: At) -> Group:
    where: Where = ("groups", name)
    found = [
        priced(spec, wish, catalog, (*where, "candidates", index), at) for index, wish in enumerate(group.candidates)
    ]
    _check_alike(found, group, where, at)
    kept = under_cap(found, group.max_price_per_hour, where, at)
    resources = found[0].resources.promised(group.cpus, group.memory)
    left_out = in_price_order(one for one in found if one not in kept)
    return Group(name, resources, tuple(dict.fromkeys(kept)), left_out, group.min, group.max)


def _check_alike(found: list[Candidate], group: GroupSpec, where: Where, at: At) -> None:
    """Raises SpecError for two candidates that Ray could not take for each other, with what all of them have."""
    first = found[0]
    promise = first.resources.promised(group.cpus, group.memory)
    for index, one in enumerate(found):
        place = at((*where, "candidates", index))
        if not one.resources.covers(promise):
            hint = f"promise what all have: {_common(found)}" if _same_chips(found) else "give each a group of its own"
            other = f"and {first.name} {first.resources}" if one is not first else f"and {promise} are promised"
            raise SpecError(
                f"{place}: candidates of a group differ: {one.name} has {one.resources}, {other}", hint=hint
            )
        if one.resources.promised(group.cpus, group.memory) != promise:
            raise SpecError(
                f"{place}: candidates of a group differ: {first.name} has {first.resources}, and {one.name} has"
                f" {one.resources}",
                hint=f"promise what all have: {_common(found)}",
            )


def _same_chips(found: list[Candidate]) -> bool:
    return len({(one.resources.chip, one.resources.chips) for one in found}) == 1


def _common(found: list[Candidate]) -> str:
    memory = format_bytes(min(one.resources.memory_bytes for one in found)).replace(".0 ", " ").replace(" ", "")
    return f"cpus: {min(one.resources.cpus for one in found)}, memory: {memory}"


def _max_workers(spec: ClusterSpec, head: Candidate, groups: tuple[Group, ...], at: At) -> int:
    room = spec.max_usd_per_hour - head.usd_per_hour
    least = sum(group.min * group.dearest_usd_per_hour for group in groups)
    count = most_machines(_dearest_first(groups), room)
    if count < max(1, sum(group.min for group in groups)) or least > room:
        dearest = max(groups, key=lambda group: group.dearest_usd_per_hour)
        raise QuotaError(
            f"{at(('max_usd_per_hour',))}: {format_usd(spec.max_usd_per_hour)} an hour are too few: the head costs"
            f" {format_usd(head.usd_per_hour)}, a machine of {dearest.name!r} up to"
            f" {format_usd(dearest.dearest_usd_per_hour)}, and {sum(group.min for group in groups)} are always there",
            hint="raise max_usd_per_hour, or take cheaper or fewer machines",
        )
    return count


def most_machines(usd_per_hour: Iterable[float], room_usd: float) -> int:
    """How many machines fit under a limit if the dearest come first: so any others do as well."""
    count, spent = 0, 0.0
    for usd in usd_per_hour:
        spent += usd
        if spent > room_usd * (1 + 1e-9):
            break
        count += 1
    return count


def _dearest_first(groups: Iterable[Group]) -> list[float]:
    each = (usd for group in groups for usd in [group.dearest_usd_per_hour] * group.max)
    return sorted(each, reverse=True)


def _dotted(where: Where) -> str:
    return ".".join(map(str, where))
