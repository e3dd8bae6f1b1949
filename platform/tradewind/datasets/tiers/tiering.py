"""The tiers of a workspace's datasets: plan, apply, restore. What it knows of runs and models, it is told."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from tradewind import progress
from tradewind.datasets import retention
from tradewind.datasets.dataset import Dataset
from tradewind.datasets.shards import data_prefix, open_shards
from tradewind.datasets.tiers.heat import Use, accesses
from tradewind.datasets.tiers.moves import AT_ONCE, Mover
from tradewind.datasets.tiers.placement import RECENT, Plan, Version, holds, plan
from tradewind.datasets.tiers.policy import Policy
from tradewind.datasets.versions import Datasets
from tradewind.errors import NotFoundError
from tradewind.records import DatasetVersion, ProcessName, Record, TierChange, now
from tradewind.specs import Reference
from tradewind.storage import Store
from tradewind.storage.classes.table import GB, Cloud, StoredClass, class_store, classes, cloud_of, tier_of

RESTORED_DAYS = 7
"""How long what S3 restores stays readable."""

POLL_S = 60.0


@dataclass(frozen=True)
class Restore:
    """Where the archived shards of a version stand. `usd` is None where a price has no source."""

    dataset: str
    archived: int
    restoring: int
    ready: int
    num_bytes: int
    """Of what had not been asked for before."""
    hours: float | None
    usd: float | None
    days: int | None
    """How long it stays readable; None where until it is archived again."""

    @property
    def is_readable(self) -> bool:
        return not (self.archived or self.restoring)


@dataclass(frozen=True)
class Tiering:
    datasets: Datasets
    uses: Callable[[], Sequence[Use]]
    records: Callable[[], Iterable[Record]]
    process: Callable[[], ProcessName]
    is_gone: Callable[[ProcessName], bool]

    @property
    def store(self) -> Store:
        return self.datasets.store

    def plan(
        self,
        reference: str,
        policy: Policy,
        *,
        cloud: Cloud | None = None,
        recent: timedelta = RECENT,
        tagged: bool = False,
        at: datetime | None = None,
    ) -> Plan:
        """What a policy would do with a dataset, or one version of it. Changes nothing.

        With `cloud`, as if everything were in the hot tier of that cloud. `tagged` versions move only if asked for.
        Raises SpecError for a store without classes, IntegrityError for a damaged record of a version or a run.
        """
        wanted = Reference.parse(reference)
        number = self.datasets.get(reference).record.version if wanted.version or wanted.alias else None
        at = at or now()
        versions = self._versions(wanted.name, recent, tagged)
        stored = self._as_if(wanted.name, cloud) if cloud else class_store(self.store).list(data_prefix(wanted.name))
        chosen = cloud or cloud_of(self.store)
        return plan(wanted.name, versions, stored, policy, cloud=chosen, at=at, only=number)

    def apply(self, plan: Plan, *, recent: timedelta = RECENT, tagged: bool = False) -> TierChange:
        """Carry out a plan. Raises ConflictError while another process does, SpecError where a class is missing."""
        mover = Mover(self.store, class_store(self.store), self.process(), self.is_gone)

        def held() -> dict[int, tuple[str, ...]]:
            numbers = retention.version_log(self.store, plan.name).numbers()
            return self._holds(plan.name, numbers, retention.removals(self.store, plan.name), recent, tagged)

        return mover.apply(plan, held)

    def restored(self, reference: str) -> Restore:
        """Where the archived shards of a version stand. Raises SpecError for a store without classes."""
        return self._restored(self.datasets.get(reference))[0]

    def restore(self, reference: str, *, wait: bool = False, poll_s: float = POLL_S) -> Restore:
        """Have the archived shards of a version made readable; with `wait`, return when they are.

        The bytes and dollars are those of what this call has asked for. Raises SpecError for a store without classes.
        """
        dataset = self.datasets.get(reference)
        before, offline = self._restored(dataset)
        objects = class_store(self.store)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(lambda one: objects.restore(one.key, days=RESTORED_DAYS), offline))
        found = self._restored(dataset)[0]
        while wait and not found.is_readable:
            progress.print_line(f"{found.ready} of {len(offline)} objects of {dataset.reference} are readable")
            time.sleep(poll_s)
            found = self._restored(dataset)[0]
        return replace(found, num_bytes=before.num_bytes, usd=before.usd)

    def _restored(self, dataset: Dataset) -> tuple[Restore, list[StoredClass]]:
        """The state, and the shards that are in the archive."""
        cloud, objects = cloud_of(self.store), class_store(self.store)
        shards = {shard.key for split in dataset.record.splits for shard in dataset.shard_table(split)}
        found = objects.list(data_prefix(dataset.record.name))
        offline = [one for one in found if one.key in shards and _must_be_restored(cloud, one)]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            states = list(pool.map(lambda one: objects.state(one.key), offline))
        waiting = sum(one.num_bytes for one, state in zip(offline, states, strict=True) if state == "archived")
        archive = classes(cloud)["archive"]
        price = archive.retrieval_usd_per_gb
        state = Restore(
            dataset.reference,
            states.count("archived"),
            states.count("restoring"),
            states.count("ready"),
            num_bytes=waiting,
            hours=archive.restore_hours if offline else None,
            usd=0.0 if not waiting else None if price is None else price * waiting / GB,
            days=RESTORED_DAYS if cloud == "s3" else None,
        )
        return state, offline

    def _versions(self, name: str, recent: timedelta, tagged: bool) -> list[Version]:
        records = self._records(name)
        gone = [record.version for record, is_removed in records if is_removed]
        reasons = self._holds(name, [record.version for record, _ in records], gone, recent, tagged)
        seen = list(self.records())
        return [
            Version(
                name,
                record.version,
                {split: _sizes(self.store, record, split) for split in record.splits},
                tuple(sorted([record.created_at, *accesses(record.id, seen)])),
                reasons[record.version],
                is_removed,
            )
            for record, is_removed in records
        ]

    def _records(self, name: str) -> list[tuple[DatasetVersion, bool]]:
        """Every version whose files may be there, and whether it was removed; a run may still read a removed one."""
        found = []
        for entry in self.datasets.entries(name, removed=True):
            if entry.problem:
                raise entry.problem
            if entry.record:
                found.append((entry.record, entry.removed_at is not None))
        if not found:
            raise NotFoundError(f"no dataset named {name!r}")
        return found

    def _holds(
        self, name: str, numbers: Collection[int], gone: Collection[int], recent: timedelta, tagged: bool
    ) -> dict[int, tuple[str, ...]]:
        """Why each version stays now. A removed one is never the newest, and its tags mean nothing."""
        tags = {} if tagged else self.datasets.tags(name)
        return holds(name, numbers, self.uses(), at=now(), recent=recent, tags=tags, removed=gone)

    def _as_if(self, name: str, cloud: Cloud) -> Iterable[StoredClass]:
        hot = classes(cloud)["hot"].name
        return (StoredClass(one.key, one.num_bytes, hot, one.modified_at) for one in self.store.list(data_prefix(name)))


def _sizes(store: Store, record: DatasetVersion, split: str) -> dict[str, int]:
    return {shard.key: shard.num_bytes for shard in open_shards(store, record, record.splits[split])}


def _must_be_restored(cloud: Cloud, one: StoredClass) -> bool:
    tier = tier_of(cloud, one.name)
    return tier is not None and classes(cloud)[tier].restore_hours is not None
