"""Which checkpoint to go on from: the newest that is whole. A damaged one is refused, loudly, for the one before it."""

from __future__ import annotations

from tradewind import progress
from tradewind.errors import IntegrityError, SpecError
from tradewind.records import CheckpointRecord
from tradewind.storage import Store
from tradewind.training.checkpoint.contents import read_contents
from tradewind.training.checkpoint.entries import Refused, newest_whole, record_key, set_aside
from tradewind.training.checkpoint.group import Group
from tradewind.training.checkpoint.reading import agreed, fill
from tradewind.training.checkpoint.state import TrainingState
from tradewind.training.run import RunFiles


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


def _fill(store: Store, record: CheckpointRecord, state: TrainingState) -> None:
    if record.optimizer and record.optimizer != state.optimizer:
        raise SpecError(
            f"{record.id} was trained with {record.optimizer}, and this is {state.optimizer}",
            hint="go on with the same optimizer, or start a new run from its weights",
        )
    contents = read_contents(store, record)
    room = state.to_fill(contents.kept)
    fill(store, record, room, contents)
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
