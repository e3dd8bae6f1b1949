"""Which checkpoint to go on from: the newest that is whole. A damaged one is refused, loudly, for the one before it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from tradewind import progress
from tradewind.errors import IntegrityError, SpecError, TradewindError
from tradewind.records import CheckpointRecord
from tradewind.storage import Store
from tradewind.storage.integrity import altered, missing
from tradewind.training.checkpoint.group import Group
from tradewind.training.checkpoint.reading import agreed, fill, read_metadata
from tradewind.training.checkpoint.state import TrainingState
from tradewind.training.run import RunFiles

FOLDER = "checkpoints"
REFUSED = ".refused"
"""Behind the name of a record that nothing goes on from any more."""


@dataclass(frozen=True)
class Refused:
    """A checkpoint that was passed over: its record's key, and what is wrong."""

    key: str
    error: TradewindError


def newest_whole(
    files: RunFiles, *, without: Collection[str] = ()
) -> tuple[CheckpointRecord | None, tuple[Refused, ...]]:
    """The newest checkpoint whose files are all there with their lengths, and the newer ones for which that is not so.

    Bytes are not read: `load` verifies them. Records of the keys in `without` are passed over without a word.
    """
    refused: list[Refused] = []
    for key in reversed(record_keys(files)):
        if key in without:
            continue
        try:
            record = CheckpointRecord.from_json(files.store.get(key), where=key)
            check_complete(files.store, record)
        except IntegrityError as exc:
            refused.append(Refused(key, exc))
        else:
            return record, tuple(refused)
    return None, tuple(refused)


def resume(files: RunFiles, state: TrainingState, *, group: Group | None = None) -> CheckpointRecord | None:
    """Fill the state from the newest whole checkpoint and say which it was; None for a run without. A collective.

    What is damaged is said on standard error, and set aside once an earlier one was loaded. Raises on all ranks alike:
    IntegrityError when there are checkpoints and none is whole, SpecError when the newest is of another model.
    """
    group = group or Group.default()
    refused: list[Refused] = []
    while True:
        found = newest_whole(files, without=[one.key for one in refused]) if group.rank == 0 else None
        record, damaged = group.share(found)
        refused += damaged
        if record is None:
            break
        try:
            agreed(group, lambda chosen=record: _fill(files.store, chosen, state))
        except IntegrityError as exc:
            refused.append(Refused(record_key(files, record.step), exc))
            continue
        if group.rank == 0:
            _set_aside(files, refused, instead=record)
        return record
    if refused:
        raise _none_is_whole(files, refused)
    return None


def record_key(files: RunFiles, step: int) -> str:
    return files.key(f"{FOLDER}/{step:09d}.json")


def record_keys(files: RunFiles) -> list[str]:
    """Of all checkpoints, oldest first."""
    return sorted(item.key for item in files.store.list(files.key(FOLDER)) if item.key.endswith(".json"))


def check_complete(store: Store, record: CheckpointRecord) -> None:
    """Raises IntegrityError for a checkpoint that lacks a file, or has one of another length."""
    if not record.files:
        raise IntegrityError(f"{record.id} names no files", hint="use an earlier checkpoint")
    sizes = {item.key: item.num_bytes for item in store.list(folder_of(record))}
    for file in record.files:
        if file.key not in sizes:
            raise missing(file, what=record.id)
        if sizes[file.key] != file.num_bytes:
            raise altered(file, f"has {sizes[file.key]} bytes instead of {file.num_bytes}", what=record.id)


def folder_of(record: CheckpointRecord) -> str:
    """Where the files of a checkpoint are."""
    return record.files[0].key.rpartition("/")[0] if record.files else ""


def set_aside(files: RunFiles, key: str) -> None:
    """Let a record be none any more, and keep its text."""
    files.store.put(key + REFUSED, files.store.get(key))
    files.store.delete(key)


def _fill(store: Store, record: CheckpointRecord, state: TrainingState) -> None:
    if record.optimizer and record.optimizer != state.optimizer:
        raise SpecError(
            f"{record.id} was trained with {record.optimizer}, and this is {state.optimizer}",
            hint="go on with the same optimizer, or start a new run from its weights",
        )
    metadata = read_metadata(store, record)
    room = state.to_fill(metadata)
    fill(store, record, room, metadata)
    state.filled(room)


def _set_aside(files: RunFiles, refused: list[Refused], *, instead: CheckpointRecord) -> None:
    for one in refused:
        progress.print_line(f"WARNING: {one.error.message}. {one.key} is refused; {instead.id} is used instead")
        set_aside(files, one.key)


def _none_is_whole(files: RunFiles, refused: list[Refused]) -> IntegrityError:
    said = "; ".join(one.error.message for one in refused[:3])
    return IntegrityError(
        f"none of the {len(refused)} checkpoints of run {files.run} is whole: {said}",
        hint="restore the files from a copy, or start a new run",
    )
