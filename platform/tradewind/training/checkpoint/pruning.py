"""Which checkpoints go, and what dead attempts have left.

A record goes before its files, so a record that is there has them. The newest checkpoint stays, and so does one that
another record was made from: a model, another run. Files without a record stay until nobody can write that record any
more: a checkpoint is given up when it takes longer than LONGEST_S, so what was written before that is dead.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from tradewind.errors import IntegrityError, SpecError
from tradewind.records import CheckpointRecord
from tradewind.registry import Models
from tradewind.storage import ObjectInfo, Store
from tradewind.storage.removal import delete_all
from tradewind.training.checkpoint.entries import FOLDER, folder_of, record_key, record_keys
from tradewind.training.run import RunFiles
from tradewind.training.uses import Uses

LONGEST_S = 1800.0
"""From the beginning of a checkpoint to its record. A choice, far above what is measured or reckoned anywhere."""

InUse = Callable[[], Collection[str]]
"""Ids of records that others were made from."""


@dataclass(frozen=True)
class Keep:
    """How many of the newest and of the best (lowest held-out loss) stay. Raises SpecError for none of the newest."""

    last: int = 3
    best: int = 1

    def __post_init__(self) -> None:
        if self.last < 1 or self.best < 0:
            raise SpecError(
                f"keep_last is {self.last} and keep_best {self.best}", hint="at least the newest one is kept"
            )


def named_by_records(store: Store) -> set[str]:
    """Ids that models and runs of the workspace were made from."""
    models = {parent for model in Models(store).list() for parent in model.parents}
    return models | {parent for start in Uses(store).starts() for parent in start.parents}


def prune(files: RunFiles, keep: Keep, in_use: InUse) -> list[int]:
    """Remove the checkpoints that need not stay, with their files, and say their steps.

    One whose record cannot be read stays: nobody knows what it is.
    """
    records = _readable(files)
    kept = _kept(records, keep)
    doomed = [record for record in records if record.step not in kept]
    used = in_use() if doomed else ()
    doomed = [record for record in doomed if record.id not in used]
    for record in doomed:
        files.store.delete(record_key(files, record.step))
    used = in_use() if doomed else ()  # asked again when the records are gone: whoever comes later finds none to name
    for record in doomed:
        if record.id in used:
            files.store.create(record_key(files, record.step), record.to_json())
        else:
            drop_folder(files.store, folder_of(record))
    return [record.step for record in doomed if record.id not in used]


def remove_orphans(files: RunFiles, *, quiet_s: float = 2 * LONGEST_S) -> list[str]:
    """Remove files below the checkpoints of a run that no record names and that are older than `quiet_s`.

    0 is for a run whose workers have all ended. Ages are told by the store's clock. Returns the folders removed.
    """
    store, items = files.store, list(files.store.list(files.key(FOLDER)))
    clock = max((item.modified_at for item in items if item.modified_at), default=None)
    named = _named_folders(files)
    removed = []
    for folder, found in _by_folder(files, items).items():
        if folder not in named and _steps_of(folder) not in named and _is_quiet(found, clock, quiet_s):
            drop_folder(store, folder)
            removed.append(folder)
    _sweep_unfinished(files, quiet_s, clock)
    return removed


def drop_folder(store: Store, folder: str) -> None:
    """Remove all below a folder, and the folder itself with what a killed writer left in it where it is on a disk."""
    if not folder:
        return
    delete_all(store, [item.key for item in store.list(folder)])
    if path := store.local_path(folder):
        shutil.rmtree(path, ignore_errors=True)


def _readable(files: RunFiles) -> list[CheckpointRecord]:
    """Oldest first."""
    found = []
    for key in record_keys(files):
        try:
            found.append(CheckpointRecord.from_json(files.store.get(key), where=key))
        except IntegrityError:
            continue
    return found


def _kept(records: list[CheckpointRecord], keep: Keep) -> set[int]:
    """The steps of the newest and of the best."""
    losses = {one.step: one.heldout_loss for one in records}
    judged = [(loss, step) for step, loss in losses.items() if loss is not None and math.isfinite(loss)]
    return {one.step for one in records[-keep.last :]} | {step for _, step in sorted(judged)[: keep.best]}


def _named_folders(files: RunFiles) -> set[str]:
    """Folders of records; of one that cannot be read, its step, so that all folders of that step stay."""
    readable = {record_key(files, record.step): folder_of(record) for record in _readable(files)}
    return {readable.get(key, key.removesuffix(".json")) for key in record_keys(files)}


def _steps_of(folder: str) -> str:
    parent, _, name = folder.rpartition("/")
    return f"{parent}/{name.partition('-')[0]}"


def _by_folder(files: RunFiles, items: Iterable[ObjectInfo]) -> Mapping[str, list[ObjectInfo]]:
    prefix, found = files.key(FOLDER), dict[str, list[ObjectInfo]]()
    for item in items:
        name, _, rest = item.key.removeprefix(f"{prefix}/").partition("/")
        if rest:
            found.setdefault(f"{prefix}/{name}", []).append(item)
    return found


def _is_quiet(items: Iterable[ObjectInfo], clock: datetime | None, quiet_s: float) -> bool:
    if quiet_s <= 0:
        return True
    times = [item.modified_at for item in items]
    if clock is None or None in times:
        return False
    return clock - max(time for time in times if time) > timedelta(seconds=quiet_s)


def _sweep_unfinished(files: RunFiles, quiet_s: float, clock: datetime | None) -> None:
    """A folder of this machine keeps what a killed process was writing: empty folders, and files named `…#1`."""
    root = files.store.local_path(files.key(FOLDER))
    if root is None or not root.is_dir():
        return
    for path in root.iterdir():
        modified = datetime.fromtimestamp(path.stat().st_mtime, tz=clock.tzinfo if clock else None)
        old = quiet_s <= 0 or (clock is not None and clock - modified > timedelta(seconds=quiet_s))
        if old and path.is_dir() and not any(one.is_file() for one in path.rglob("*") if "#" not in one.name):
            shutil.rmtree(path, ignore_errors=True)
        elif old and path.is_file() and "#" in path.name:
            path.unlink(missing_ok=True)
