"""How versions go, and come back: removed by a record, their files deleted later, when nothing names them any more.

Three rules keep a file that somebody needs. A removed version keeps its files for the grace period, so that a run that
has just begun on it goes on, and `restore` can take it back. A file younger than the grace period is never deleted, and
whoever needs an old one writes it again first (`RENEW_AFTER` of the store). And a sweep says that it is going before it
reads which versions there are, while whoever has made a version visible looks for sweeps, waits for their end and
checks its files: so at least one of the two knows of the other. What a killed sweep has left is done by the next one.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice
from typing import Literal

from tradewind import progress
from tradewind.datasets.shards import FOLDER, data_prefix, open_shards
from tradewind.errors import IntegrityError, NotFoundError, SpecError
from tradewind.records import DatasetVersion, Removal, StoredFile, Sweep, now
from tradewind.storage import ObjectInfo, RecordLog, Store
from tradewind.storage.removal import delete_all

LEASE = timedelta(minutes=1)
"""A sweep that was not heard of for so long has died."""
POLL_S = 0.2
AT_ONCE = 16
PAGE = 1000
ASKED_ONE_BY_ONE = 500

Held = Callable[[], Mapping[int, str]]
"""Versions that must stay, each with the reason."""

_CHANGE = re.compile(r"(\d{12})/(\d{12})\.json")
_CONTENT = re.compile(r"[0-9a-f]{64}(?=\.|$)")


@dataclass(frozen=True)
class Collected:
    """What one call has removed and deleted, or would have. `waiting` files are unused and within the grace period."""

    name: str
    removed: tuple[int, ...]
    kept: dict[int, str]
    dry_run: bool
    num_files: int = 0
    num_bytes: int = 0
    waiting_files: int = 0
    waiting_bytes: int = 0


def version_log(store: Store, name: str) -> RecordLog[DatasetVersion]:
    return RecordLog(store, f"{FOLDER}/{name}/versions", DatasetVersion)


def removal(store: Store, name: str, version: int) -> Removal | None:
    """The record that says that a version is removed now."""
    log = _removal_log(store, name, version)
    numbers = log.numbers()
    newest = log.read(numbers[-1]) if numbers else None
    return newest if newest and newest.status == "removed" else None


def removals(store: Store, name: str) -> dict[int, Removal]:
    """Every version that is removed now, with the record that says so. Raises IntegrityError for a damaged one."""
    found = {}
    for version, one in read_removals(store, name).items():
        if isinstance(one, IntegrityError):
            raise one
        found[version] = one
    return found


def read_removals(store: Store, name: str) -> dict[int, Removal | IntegrityError]:
    """The same, with what is wrong in place of a record that is damaged."""

    def read(item: tuple[int, int]) -> Removal | IntegrityError:
        try:
            return _removal_log(store, name, item[0]).read(item[1])
        except IntegrityError as exc:
            return exc

    newest = _newest_changes(store, name)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = zip(newest, pool.map(read, newest.items()), strict=True)
        return {version: one for version, one in found if isinstance(one, IntegrityError) or one.status == "removed"}


def remove(store: Store, name: str, version: int) -> Removal:
    """Take a version out of sight. Its files stay for now."""
    return _change(store, name, version, "removed")


def restore(store: Store, record: DatasetVersion) -> None:
    """Take a removed version back. Raises IntegrityError with what is missing when its files are not all there."""
    _refuse_if_lost(record, missing_files(store, record.name, files_of(store, record)))
    _change(store, record.name, record.version, "restored")
    lost = lost_files(store, record)
    if lost:
        remove(store, record.name, record.version)
        _refuse_if_lost(record, lost)


def collect(store: Store, name: str, *, keep: int, grace: timedelta, held: Held, dry_run: bool = False) -> Collected:
    """Remove the versions that are neither among the newest nor held, then delete the files that nobody needs.

    Raises IntegrityError when the record of a version cannot be read, because nobody knows then what it names.
    """
    if keep < 1:
        raise SpecError(f"keep is {keep}", hint="at least the newest version is kept")
    if grace < timedelta(0):
        raise SpecError(f"grace is {grace}", hint="it is a time of 0 or more")
    gone = removals(store, name)
    living = [number for number in version_log(store, name).numbers() if number not in gone]
    reasons = {**dict.fromkeys(living[-keep:], f"among the newest {keep}"), **held()}
    doomed = [number for number in living if number not in reasons]
    if not dry_run:
        doomed = _remove_all(store, name, doomed, held)
    as_if = frozenset(doomed if dry_run else ())
    counts = _Sweeper(store, name, grace, held(), dry_run, as_if).sweep()
    kept = {number: reasons.get(number, "in use") for number in living if number not in doomed}
    return Collected(name, tuple(doomed), kept, dry_run, *counts)


def files_of(store: Store, record: DatasetVersion) -> list[StoredFile]:
    """Every file that a version names: shards, their listings, the tokenizer."""
    return [
        *_small_files(record),
        *(shard for split in record.splits.values() for shard in open_shards(store, record, split)),
    ]


def missing_files(store: Store, name: str, files: Sequence[StoredFile]) -> list[StoredFile]:
    """Which files are not there, or have another length. Their bytes are not read."""
    if len(files) > ASKED_ONE_BY_ONE:
        sizes = {item.key: item.num_bytes for item in store.list(data_prefix(name))}
        return [file for file in files if sizes.get(file.key) != file.num_bytes]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = pool.map(lambda file: _size(store, file.key), files)
        return [file for file, size in zip(files, found, strict=True) if size != file.num_bytes]


def lost_files(store: Store, record: DatasetVersion, *, only: Sequence[StoredFile] | None = None) -> list[StoredFile]:
    """To be asked once a version is visible: which of its files a sweep took meanwhile. Waits for sweeps to end.

    `only` are the shards to look for, where the others are those of a version that is there.
    """
    log = _sweep_log(store, record.name)
    if not log.numbers():
        return []
    if _going(log):
        progress.print_line(f"waiting for the end of a sweep of {record.name}")
        while _going(log):
            time.sleep(POLL_S)
    files = files_of(store, record) if only is None else [*only, *_small_files(record)]
    return missing_files(store, record.name, files)


def _small_files(record: DatasetVersion) -> list[StoredFile]:
    listings = [split.listing for split in record.splits.values() if split.listing]
    return [*([record.tokenizer] if record.tokenizer else []), *listings]


def _refuse_if_lost(record: DatasetVersion, lost: Sequence[StoredFile]) -> None:
    if lost:
        named = ", ".join(file.key for file in lost[:3]) + (", …" if len(lost) > 3 else "")
        raise IntegrityError(
            f"{record.name}@{record.version} cannot be taken back: {len(lost)} of its files are gone: {named}",
            hint="restore them from a copy, or make a new version",
        )


def _remove_all(store: Store, name: str, doomed: Sequence[int], held: Held) -> list[int]:
    """Remove versions, and take back those that somebody began to use meanwhile."""
    for number in doomed:
        remove(store, name, number)
    used = held() if doomed else {}
    for number in doomed:
        if number in used:
            _change(store, name, number, "restored")
    return [number for number in doomed if number not in used]


@dataclass
class _Sweeper:
    """One sweep: what it knows to be named, and what it has found."""

    store: Store
    name: str
    grace: timedelta
    held: Mapping[int, str]
    dry_run: bool
    as_if_removed: frozenset[int]
    _id: str = field(default_factory=lambda: uuid.uuid4().hex)
    _heard: float = 0.0
    _named: set[str] = field(default_factory=set)
    _read: set[int] = field(default_factory=set)
    _removals: dict[tuple[int, int], Removal] = field(default_factory=dict)

    def sweep(self) -> tuple[int, int, int, int]:
        """Files and bytes deleted; files and bytes that wait for the end of the grace period."""
        swept, waiting = [0, 0], [0, 0]
        self._read_versions()
        objects = iter(self.store.list(data_prefix(self.name)))
        try:
            while page := list(islice(objects, PAGE)):
                unused = [item for item in page if self._is_unused(item)]
                old = {item.key for item in unused if self._is_old(item)}
                if old and not self.dry_run:
                    old = self._delete([item for item in unused if item.key in old])
                for item in unused:
                    counts = swept if item.key in old else waiting
                    counts[0] += 1
                    counts[1] += item.num_bytes
        finally:
            if self._heard:
                self._say("ended")
        return swept[0], swept[1], waiting[0], waiting[1]

    def _delete(self, items: Sequence[ObjectInfo]) -> set[str]:
        """Say that the sweep is going, look whether a version has appeared since, and only then delete."""
        self._say("going")
        self._read_versions()
        unused = [item.key for item in items if self._is_unused(item)]
        return delete_all(self.store, unused, only_if=self._may_go)

    def _may_go(self, key: str) -> bool:
        """A writer that needs the file may have written it again. A sweep that has become too slow leaves the rest."""
        try:
            is_old = self._is_old(self.store.head(key))
        except NotFoundError:
            return False
        return is_old and time.monotonic() - self._heard < LEASE.total_seconds() / 2

    def _read_versions(self) -> None:
        """Names of versions that are there, that were removed a short while ago, and that are held all the same."""
        log = version_log(self.store, self.name)
        new = [number for number in log.numbers() if number not in self._read]
        changes = _newest_changes(self.store, self.name)
        for number in new:
            if number in self.held or not self._is_forgotten(number, changes.get(number)):
                self._add_names(log.read(number))
                self._read.add(number)

    def _is_forgotten(self, number: int, change: int | None) -> bool:
        if number in self.as_if_removed:
            return self.grace <= timedelta(0)
        if change is None:
            return False
        if (number, change) not in self._removals:
            self._removals[number, change] = _removal_log(self.store, self.name, number).read(change)
        record = self._removals[number, change]
        return record.status == "removed" and now() - record.created_at >= self.grace

    def _add_names(self, record: DatasetVersion) -> None:
        """Listings that several versions share are read once."""
        self._named.update([record.tokenizer.sha256] if record.tokenizer else [])
        for split in record.splits.values():
            self._named.update(shard.sha256 for shard in split.shards)
            if split.listing and split.listing.sha256 not in self._named:
                digests = open_shards(self.store, record, split).sha256.tobytes().hex()
                self._named.update(digests[start : start + 64] for start in range(0, len(digests), 64))
                self._named.add(split.listing.sha256)

    def _is_unused(self, item: ObjectInfo) -> bool:
        """Only what `put_content` has named is ours to delete."""
        match = _CONTENT.match(item.key.rpartition("/")[2])
        return match is not None and match[0] not in self._named

    def _is_old(self, item: ObjectInfo) -> bool:
        return item.modified_at is not None and now() - item.modified_at >= self.grace

    def _say(self, status: Literal["going", "ended"]) -> None:
        self._heard = time.monotonic()
        _sweep_log(self.store, self.name).append(
            lambda step, writer: Sweep(name=self.name, sweeper=self._id, status=status, step=step, writer=writer)
        )


def _going(log: RecordLog[Sweep]) -> bool:
    """Whether there is a sweep that has not ended and was heard of within the lease."""
    ended: set[str] = set()
    for number in reversed(log.numbers()):
        step = log.read(number)
        if now() - step.created_at > LEASE:
            return False
        if step.status == "going" and step.sweeper not in ended:
            return True
        ended.add(step.sweeper)
    return False


def _newest_changes(store: Store, name: str) -> dict[int, int]:
    """The number of the newest change of each version that was ever removed."""
    prefix = f"{FOLDER}/{name}/removals"
    found: dict[int, int] = {}
    for item in store.list(prefix):
        if match := _CHANGE.fullmatch(item.key.removeprefix(f"{prefix}/")):
            version, change = int(match[1]), int(match[2])
            found[version] = max(change, found.get(version, 0))
    return found


def _change(store: Store, name: str, version: int, status: Literal["removed", "restored"]) -> Removal:
    return _removal_log(store, name, version).append(
        lambda change, writer: Removal(name=name, version=version, status=status, change=change, writer=writer)
    )


def _removal_log(store: Store, name: str, version: int) -> RecordLog[Removal]:
    return RecordLog(store, f"{FOLDER}/{name}/removals/{version:012d}", Removal)


def _sweep_log(store: Store, name: str) -> RecordLog[Sweep]:
    return RecordLog(store, f"{FOLDER}/{name}/sweeps", Sweep)


def _size(store: Store, key: str) -> int | None:
    try:
        return store.head(key).num_bytes
    except NotFoundError:
        return None
