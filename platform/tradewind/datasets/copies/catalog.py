"""Which stores hold copies of a dataset: a log of its own beside its versions, and the origin that follows from it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tradewind import progress
from tradewind.datasets.copies.budget import EgressBudget
from tradewind.datasets.copies.replicas import Replicas, Source
from tradewind.datasets.shards import FOLDER
from tradewind.errors import NotFoundError, TradewindError, did_you_mean
from tradewind.records import DatasetCopy, Place
from tradewind.storage import RecordLog, Store, open_store
from tradewind.storage.origin import Origin, StoreOrigin
from tradewind.storage.transfer.meter import TransferMeter
from tradewind.storage.transfer.place import place_of
from tradewind.storage.transfer.tariffs import tariff


def copies_of(store: Store, name: str) -> list[DatasetCopy]:
    """The copies that are read, in the order in which they were first made."""
    return _present(copy_log(store, name).all())


def sources_of(store: Store, name: str, version: int) -> tuple[Source, ...]:
    """The stores that hold a version, home first. A copy that cannot be opened is named and left out."""
    copies = [copy for copy in copies_of(store, name) if version in copy.versions]
    return (_home(store), *(source for copy in copies if (source := _source(copy))))


def open_origin(store: Store, name: str, version: int) -> Origin:
    """Where the files of a version are read from. A folder of this machine without copies needs nothing around it."""
    return _origin(store, sources_of(store, name, version))


def open_home(store: Store, *, meter: TransferMeter) -> Origin:
    """The store of a workspace alone. The meter counts what is read, except from a folder of this machine."""
    return _origin(store, (_home(store),), meter=meter)


def record_copy(
    store: Store, name: str, url: str, *, place: Place | None = None, version: int | None = None
) -> DatasetCopy:
    """Write down that a store holds one more version, or with no version that it is not to be read any more.

    Without a place, a copy stays where it was known to be.
    """
    log = copy_log(store, name)
    known = list(log.all())
    found = _newest(known, url)
    if version is None and found is None:
        near = did_you_mean(url, [copy.url for copy in _present(known)])
        raise NotFoundError(f"{name} has no copy at {url}{near}")
    if found and version is not None and version in found.versions and place in (None, found.place):
        return found

    def make(number: int, writer: str) -> DatasetCopy:
        known.extend(log.read(missed) for missed in range(_last(known) + 1, number))
        before = _newest(known, url)
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

    return log.append(make, after=_last(known))


def copy_log(store: Store, name: str) -> RecordLog[DatasetCopy]:
    return RecordLog(store, f"{FOLDER}/{name}/copies", DatasetCopy)


def _present(copies: Iterable[DatasetCopy]) -> list[DatasetCopy]:
    newest = {copy.url: copy for copy in copies}
    return [copy for copy in newest.values() if copy.state == "present"]


def _newest(copies: Iterable[DatasetCopy], url: str) -> DatasetCopy | None:
    return next((copy for copy in _present(copies) if copy.url == url), None)


def _last(copies: Sequence[DatasetCopy]) -> int:
    return copies[-1].change if copies else 0


def _home(store: Store) -> Source:
    return Source(store, place_of(store))


def _origin(store: Store, sources: Sequence[Source], *, meter: TransferMeter | None = None) -> Origin:
    if len(sources) == 1 and _is_free(sources[0].place):
        return StoreOrigin(store)
    return Replicas(sources, budget=EgressBudget(store), meter=meter)


def _source(copy: DatasetCopy) -> Source | None:
    try:
        return Source(open_store(copy.url), copy.place)
    except TradewindError as exc:
        progress.print_line(f"the copy of {copy.name} at {copy.url} is not read: {exc.message}")
        return None


def _is_free(place: Place) -> bool:
    return tariff(place, place).boundary == "none"
