"""Copies of a dataset version in other stores, made so that each byte crosses what is paid for once.

A file is read from the cheapest of home and the copies that there are, checked, and sent to every store that lacks it.
It goes through the cache of this machine, so a call that was killed reads nothing again that it had read. Files are
named by what they hold: what a store has with the right size is not sent. The manifest goes after the files, and the
record that makes readers use the copy after that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

from tradewind import progress
from tradewind.datasets.copies.budget import EgressBudget
from tradewind.datasets.copies.catalog import copies_of, record_copy, sources_of
from tradewind.datasets.copies.replicas import Replicas
from tradewind.datasets.dataset import Dataset
from tradewind.datasets.retention import version_log
from tradewind.datasets.shards import FOLDER, data_prefix
from tradewind.errors import ConflictError, NotFoundError, SpecError, StorageError
from tradewind.records import DatasetCopy, Place, StoredFile
from tradewind.storage import Store, open_store
from tradewind.storage.cache import default_cache
from tradewind.storage.removal import delete_all
from tradewind.storage.transfer.meter import TransferMeter
from tradewind.storage.transfer.place import place_of, this_place
from tradewind.storage.transfer.tariffs import tariff
from tradewind.units import format_bytes

T = TypeVar("T")

AT_ONCE = 8


def replicate(
    dataset: Dataset, targets: Sequence[tuple[Store, Place | None]], *, meter: TransferMeter, at_once: int = AT_ONCE
) -> list[DatasetCopy]:
    """Make or complete copies of a version. Raises SpecError for a store that holds another dataset of that name.

    A store without a place is where its copy is known to be, or where its URL says. Also raises QuotaError when the
    egress budget does not cover the rest; what was sent by then stays and counts.
    """
    home, record = dataset.store, dataset.record
    budget = EgressBudget(home)
    known = {copy.url: copy.place for copy in copies_of(home, record.name) if copy.place.cloud}
    found = [_survey(dataset, store, place or known.get(store.url) or place_of(store)) for store, place in targets]
    if len({target.store.url for target in found}) < len(found):
        raise SpecError("a store is named twice", hint="name each once")
    source = Replicas(sources_of(home, record.name, record.version), budget=budget, prefer="cheap", meter=meter)
    sender = _Sender(dataset, source, found, budget, meter)
    sizes = [file.num_bytes for file in sender.todo()]
    try:
        with progress.track(f"copy {dataset.reference}", total=sum(sizes)) as bar:
            for file in _in_parallel(sender.send, sender.todo(), at_once):
                bar.advance(file.num_bytes)
            bar.advance(0, note=f"{len(sizes)} files, {format_bytes(sum(sizes))}")
    finally:
        budget.close()
    for target in found:
        _send_manifest(dataset, target.store)
    return [
        record_copy(home, record.name, target.store.url, place=target.place, version=record.version) for target in found
    ]


def drop_copy(store: Store, name: str, url: str, *, delete: bool = False) -> DatasetCopy:
    """Read a copy no more, and with `delete` remove its objects, unless the store has versions of its own.

    Raises NotFoundError when there is no such copy.
    """
    copy = open_store(url)
    if delete:
        _check_is_ours(store, copy, name)
    dropped = record_copy(store, name, copy.url)
    if delete:
        delete_all(copy, [item.key for item in copy.list(f"{FOLDER}/{name}")])
    return dropped


def _survey(dataset: Dataset, store: Store, place: Place) -> _Target:
    """What a store has already."""
    name = dataset.record.name
    _check_is_ours(dataset.store, store, name)
    return _Target(store, place, {item.key: item.num_bytes for item in store.list(data_prefix(name))})


def _check_is_ours(home: Store, store: Store, name: str) -> None:
    """Every version that a store has must be one of ours, byte by byte. Raises SpecError."""
    if store.url == home.url:
        raise SpecError(f"{store.url} is where {name} is at home", hint="name another store")
    versions = version_log(store, name)
    for number in versions.numbers():
        key = versions.key(number)
        try:
            is_ours = home.get(key) == store.get(key)
        except NotFoundError:
            is_ours = False
        if not is_ours:
            raise SpecError(f"{store.url} holds another dataset {name}", hint="name another bucket or prefix")


@dataclass(frozen=True)
class _Target:
    """A store that is to hold a copy. `held` says the size of each of its data objects."""

    store: Store
    place: Place
    held: dict[str, int]

    def lacks(self, file: StoredFile) -> bool:
        return self.held.get(file.key) != file.num_bytes


@dataclass(frozen=True)
class _Sender:
    dataset: Dataset
    source: Replicas
    targets: Sequence[_Target]
    budget: EgressBudget
    meter: TransferMeter

    def todo(self) -> Iterator[StoredFile]:
        """The files that some store lacks, each once."""
        seen: set[str] = set()
        for file in self._files():
            if file.key not in seen and any(target.lacks(file) for target in self.targets):
                seen.add(file.key)
                yield file

    def send(self, file: StoredFile) -> StoredFile:
        """Read a file once, and write it wherever it is lacking."""
        with default_cache().open(self.source, file, what=f"dataset {self.dataset.reference}") as found:
            for target in self.targets:
                if target.lacks(file):
                    self._put(target, file, found.path)
        return file

    def _put(self, target: _Target, file: StoredFile, path: Path) -> None:
        """Paid for before it is sent. What fails half-way counts as sent."""
        price = tariff(this_place(), target.place)
        store = target.store
        self.budget.hold(price.nusd(file.num_bytes), what=f"copying {self.dataset.reference} to {store.url}")
        self.meter.count(store.url, price, file.num_bytes)
        store.put(file.key, path)
        if store.head(file.key).num_bytes != file.num_bytes:
            raise StorageError(f"{store.url}/{file.key} was not written whole", hint="try again; it goes on from here")
        target.held[file.key] = file.num_bytes

    def _files(self) -> Iterator[StoredFile]:
        record = self.dataset.record
        for name, split in record.splits.items():
            if split.listing:
                yield split.listing
            yield from self.dataset.shard_table(name)
        if record.tokenizer:
            yield record.tokenizer


def _in_parallel(work: Callable[[T], T], items: Iterable[T], at_once: int) -> Iterator[T]:
    """What becomes of the items, as they get done. After an error no further one is begun."""
    remaining = iter(items)
    with ThreadPoolExecutor(at_once) as pool:
        running = {pool.submit(work, item) for item in islice(remaining, at_once)}
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()
            running |= {pool.submit(work, item) for item in islice(remaining, len(done))}


def _send_manifest(dataset: Dataset, store: Store) -> None:
    key = version_log(store, dataset.record.name).key(dataset.record.version)
    manifest = dataset.store.get(key)
    try:
        store.create(key, manifest)
    except ConflictError:
        if store.get(key) != manifest:
            raise
