"""Where the shards of a dataset are, where a policy wants them, and what that would cost and save.

A shard may be named by several versions. It is judged by the one that wants it hottest, and it stays where it is as
long as any of them is held: by a live or recent run, as the newest version, by a tag. It is counted once, under the
version that was asked for or else the newest that names it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from tradewind.datasets.tiers.heat import DAY, Use, heat
from tradewind.datasets.tiers.policy import Decision, Policy, Situation, moving_usd, reading_usd, saving_usd
from tradewind.storage.classes.table import (
    TIERS,
    Cloud,
    StorageClass,
    StoredClass,
    Tier,
    classes,
    price_note,
    tier_of,
    unknown_prices,
)

RECENT = timedelta(hours=24)


@dataclass(frozen=True)
class Version:
    """A version as the planner sees it. `shards` are the keys and sizes of each split; `held` says why it stays."""

    name: str
    number: int
    shards: Mapping[str, Mapping[str, int]]
    accesses: tuple[datetime, ...]
    held: tuple[str, ...] = ()
    is_removed: bool = False
    """Then it wishes for nothing, but a run may still read it."""


@dataclass(frozen=True)
class Line:
    """Shards of a split that are alike. Amounts are USD; None means that a price of them has no source."""

    version: int
    split: str
    num_objects: int
    num_bytes: int
    now: str
    then: str
    reason: str
    saves_usd_per_month: float | None = None
    move_usd: float | None = None
    read_usd: float | None = None
    """What it will cost to read all of it once, where it will be."""

    @property
    def stays(self) -> bool:
        return self.now == self.then


@dataclass(frozen=True)
class Move:
    """One object's way. `versions` are all that name it."""

    key: str
    num_bytes: int
    version: int
    split: str
    before: Tier
    after: Tier
    versions: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    name: str
    cloud: Cloud
    policy: str
    at: datetime
    lines: tuple[Line, ...]
    moves: tuple[Move, ...]
    versions: frozenset[int]
    """All that were looked at. What a version that is made later names, is not known here."""

    @cached_property
    def unknown(self) -> list[str]:
        """The prices without a source that would matter here."""
        tiers = {tier for line in self.lines for tier in (line.now, line.then)}
        return unknown_prices(one for tier, one in classes(self.cloud).items() if tier in tiers)

    @property
    def prices(self) -> tuple[str, str]:
        """Where and when the prices were those that are reckoned with."""
        hot = classes(self.cloud)["hot"]
        return hot.region, hot.as_of

    def to_dict(self) -> dict[str, Any]:
        lines = [{**asdict(line), "stays": line.stays} for line in self.lines]
        prices = [asdict(one) for one in classes(self.cloud).values()]
        return {
            "dataset": self.name,
            "cloud": self.cloud,
            "policy": self.policy,
            "at": self.at.isoformat(),
            "lines": lines,
            "objects_to_move": len(self.moves),
            "bytes_to_move": sum(move.num_bytes for move in self.moves),
            "saves_usd_per_month": total([line.saves_usd_per_month for line in self.lines if not line.stays]),
            "move_usd": total([line.move_usd for line in self.lines if not line.stays]),
            "unknown_prices": self.unknown,
            "price_note": price_note(self.cloud),
            "prices": prices,
        }


def total(amounts: Sequence[float | None]) -> float | None:
    """The sum, or None where a part of it is unknown."""
    return None if None in amounts else sum(amount or 0.0 for amount in amounts)


def holds(
    name: str,
    numbers: Collection[int],
    uses: Iterable[Use],
    *,
    at: datetime,
    recent: timedelta = RECENT,
    tags: Mapping[str, int] | None = None,
    removed: Collection[int] = (),
) -> dict[int, tuple[str, ...]]:
    """Why each version stays where it is; a version without a reason may move. A removed one is held by runs alone."""
    reasons: dict[int, list[str]] = {number: [] for number in numbers}
    for use in uses:
        why = _held_by(use, at, recent)
        for number in numbers:
            if why and use.reads(name, number):
                reasons[number].append(why)
    for tag, number in sorted((tags or {}).items()):
        if number in reasons and number not in removed:
            reasons[number].append(f"tag {tag}")
    newest = max((number for number in numbers if number not in removed), default=None)
    if newest is not None:
        reasons[newest].append("newest version")
    return {number: tuple(found) for number, found in reasons.items()}


def plan(
    name: str,
    versions: Sequence[Version],
    stored: Iterable[StoredClass],
    policy: Policy,
    *,
    cloud: Cloud,
    at: datetime,
    only: int | None = None,
) -> Plan:
    """What a policy does with the shards that `versions` name; with `only` those of one version."""
    found = {one.key: one for one in stored}
    named = _named(versions)
    by_number = {version.number: version for version in versions}
    judge = _Judge(classes(cloud), cloud, policy, at)
    groups: defaultdict[tuple[int, str, str, str, str], list[_Judged]] = defaultdict(list)
    moves: list[Move] = []
    for key, owners in named.items():
        naming = [by_number[number] for number in dict.fromkeys(owner for owner, _, _ in owners)]
        mine = [one for one in owners if only in (None, one[0]) and not by_number[one[0]].is_removed]
        if not mine:
            continue
        number, split, num_bytes = mine[0]
        one = judge.judge(replace(found[key], num_bytes=num_bytes) if key in found else None, naming, number)
        groups[number, split, one.now, one.then, one.reason].append(one)
        if one.before and one.after and one.before != one.after:
            moves.append(Move(key, num_bytes, number, split, one.before, one.after, tuple(v.number for v in naming)))
    lines = tuple(_line(group, some) for group, some in sorted(groups.items(), key=lambda item: item[0]))
    return Plan(name, cloud, policy.name, at, lines, tuple(moves), frozenset(by_number))


@dataclass(frozen=True)
class _Judged:
    num_bytes: int
    now: str
    then: str
    reason: str
    before: Tier | None = None
    after: Tier | None = None
    saves: float | None = None
    moving: float | None = None
    reading: float | None = None


@dataclass(frozen=True)
class _Judge:
    """What is the same for all objects of a plan."""

    classes: Mapping[Tier, StorageClass]
    cloud: Cloud
    policy: Policy
    at: datetime
    _alike: dict[tuple[object, ...], _Judged] = field(default_factory=dict)

    def judge(self, stored: StoredClass | None, naming: Sequence[Version], counted: int) -> _Judged:
        if stored is None:
            return _Judged(0, "missing", "missing", "not there: tw datasets verify")
        tier = tier_of(self.cloud, stored.name)
        if tier is None:
            return _Judged(stored.num_bytes, stored.name, stored.name, "a class that is none of ours")
        # More days than the least make no difference, and no policy is finer than an hour.
        days = max(0.0, (self.at - stored.since) / DAY) if stored.since else 0.0
        days = min(round(days * 24) / 24, float(self.classes[tier].minimum_days))
        alike = (stored.num_bytes, tier, days, counted, *(version.number for version in naming))
        if alike not in self._alike:
            situation = Situation(self.classes, stored.num_bytes, tier, days, (), self.at)
            self._alike[alike] = self._judge(situation, naming, counted)
        return self._alike[alike]

    def _judge(self, situation: Situation, naming: Sequence[Version], counted: int) -> _Judged:
        tier, num_bytes = situation.tier, situation.num_bytes
        version, decision = self._decide(situation, naming, counted)
        situation = replace(situation, accesses=version.accesses)
        if decision.tier == tier:
            read = reading_usd(situation, tier)
            return _Judged(num_bytes, tier, tier, decision.reason, tier, tier, 0.0, 0.0, read)
        return _Judged(
            num_bytes,
            tier,
            decision.tier,
            decision.reason,
            tier,
            decision.tier,
            saving_usd(situation, decision.tier, rate=heat(version.accesses, self.at)),
            moving_usd(situation),
            reading_usd(situation, decision.tier),
        )

    def _decide(self, situation: Situation, naming: Sequence[Version], counted: int) -> tuple[Version, Decision]:
        """The decision of the version that wants it hottest, unless something holds it."""
        for version in naming:
            if version.held:
                return version, Decision(situation.tier, _shared(", ".join(version.held), version, counted))
        wishes = [
            (version, self.policy.decide(replace(situation, accesses=version.accesses)))
            for version in naming
            if not version.is_removed
        ]
        version, decision = min(wishes, key=lambda wish: (TIERS.index(wish[1].tier), -wish[0].number))
        if situation.classes[situation.tier].restore_hours and decision.tier != situation.tier:
            return version, Decision(situation.tier, f"archived: tw datasets restore {version.name}@{counted}")
        return version, Decision(decision.tier, _shared(decision.reason, version, counted))


def _held_by(use: Use, at: datetime, recent: timedelta) -> str | None:
    if use.is_live:
        return f"live run {use.run} on {use.host}"
    hours = (at - use.seen_at()).total_seconds() / 3600
    return f"run {use.run} of the last {max(hours, 0):.0f} h" if at - use.seen_at() < recent else None


def _named(versions: Sequence[Version]) -> dict[str, list[tuple[int, str, int]]]:
    """Version, split and size of each key, for all that name it."""
    found: defaultdict[str, list[tuple[int, str, int]]] = defaultdict(list)
    for version in sorted(versions, key=lambda one: -one.number):
        for split, shards in version.shards.items():
            for key, num_bytes in shards.items():
                found[key].append((version.number, split, num_bytes))
    return found


def _shared(reason: str, version: Version, counted: int) -> str:
    return reason if version.number == counted else f"shared with {version.name}@{version.number}: {reason}"


def _line(group: tuple[int, str, str, str, str], some: Sequence[_Judged]) -> Line:
    version, split, now, then, reason = group
    return Line(
        version,
        split,
        len(some),
        sum(one.num_bytes for one in some),
        now,
        then,
        reason,
        total([one.saves for one in some]),
        total([one.moving for one in some]),
        total([one.reading for one in some]),
    )
