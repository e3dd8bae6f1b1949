"""Which stores hold copies of a dataset: a log of its own beside its versions, and the origin that follows from it."""

from __future__ import annotations

from tradewind import progress
from tradewind.datasets.copies.budget import EgressBudget
from tradewind.datasets.copies.replicas import Replicas, Source
from tradewind.datasets.shards import FOLDER
from tradewind.errors import NotFoundError, TradewindError, did_you_mean
from tradewind.records import DatasetCopy, Place
from tradewind.storage import RecordLog, Store, open_store
from tradewind.storage.origin import Origin, StoreOrigin
from tradewind.storage.transfer.place import place_of
from tradewind.storage.transfer.tariffs import tariff


def copies_of(store: Store, name: str) -> list[DatasetCopy]:
    """The copies that are read, in the order in which they were first made."""
    newest = {copy.url: copy for copy in copy_log(store, name).all()}
    return [copy for copy in newest.values() if copy.state == "present"]


def open_origin(store: Store, name: str, version: int) -> Origin:
    """Where the files of a version are read from. A folder of this machine without copies needs nothing around it."""
    copies = [copy for copy in copies_of(store, name) if version in copy.versions]
    home = Source(store, place_of(store))
    others = [source for copy in copies if (source := _source(copy))]
    if not others and _is_free(home.place):
        return StoreOrigin(store)
    return Replicas((home, *others), budget=EgressBudget(store))


def record_copy(
    store: Store, name: str, url: str, *, place: Place | None = None, version: int | None = None
) -> DatasetCopy:
    """Write down that a store holds one more version, or with no version that it is not to be read any more."""
    log = copy_log(store, name)
    found = _newest(log, url)
    if version is None and found is None:
        known = did_you_mean(url, [copy.url for copy in copies_of(store, name)])
        raise NotFoundError(f"{name} has no copy at {url}{known}")
    if found and version is not None and version in found.versions and found.place == place:
        return found

    def make(number: int, writer: str) -> DatasetCopy:
        before = _newest(log, url)
        held = {*(before.versions if before else ()), version} if version is not None else set()
        return DatasetCopy(
            name=name,
            url=url,
            place=place or (before.place if before else Place()),
            versions=tuple(sorted(number for number in held if number)),
            state="dropped" if version is None else "present",
            change=number,
            writer=writer,
            parents=(f"dataset:{name}@{version}",) if version else (),
        )

    return log.append(make)


def copy_log(store: Store, name: str) -> RecordLog[DatasetCopy]:
    return RecordLog(store, f"{FOLDER}/{name}/copies", DatasetCopy)


def _newest(log: RecordLog[DatasetCopy], url: str) -> DatasetCopy | None:
    found = [copy for copy in log.all() if copy.url == url]
    return found[-1] if found and found[-1].state == "present" else None


def _source(copy: DatasetCopy) -> Source | None:
    try:
        return Source(open_store(copy.url), copy.place)
    except TradewindError as exc:
        progress.print_line(f"the copy of {copy.name} at {copy.url} is not read: {exc.message}")
        return None


def _is_free(place: Place) -> bool:
    return tariff(place, place).boundary == "none"
