"""Checkpoints while training goes on: the state is copied, and a thread of each rank writes it.

    with Checkpointer(files, attempt) as checkpointer:
        checkpointer.begin(state, record)   # returns when the state is copied
        ...                                 # steps
        checkpointer.is_over                # on this rank; when it is on all,
        checkpointer.wait()                 # gives the record at once, or raises on all what one could not do

A checkpoint exists when its record does, and rank 0 writes that last, after every rank has said that its files are
durable. The threads speak over a group of their own, never over the one that trains. What one rank could not do, all
ranks hear and raise at the same step; a rank that is gone breaks the group's connections. So nothing waits for ever,
and the checkpoint before stays as it is.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from tradewind import progress
from tradewind.errors import ConflictError, IntegrityError, NotFoundError, RunError, StorageError, TradewindError
from tradewind.records import CheckpointRecord
from tradewind.training.checkpoint.entries import FOLDER, check_complete, folder_of, record_key, set_aside
from tradewind.training.checkpoint.group import Group
from tradewind.training.checkpoint.image import Image
from tradewind.training.checkpoint.piece import Frames
from tradewind.training.checkpoint.plan import Plan, Planning, State
from tradewind.training.checkpoint.pruning import LONGEST_S, InUse, Keep, named_by_records, prune, remove_orphans
from tradewind.training.checkpoint.writing import (
    AT_ONCE,
    AT_ONCE_IN_HASTE,
    TooLateError,
    drop_files,
    settle,
    write_files,
    write_metadata,
)
from tradewind.training.run import RunFiles
from tradewind.units import format_bytes, format_seconds

HEARD_OF_S = 120.0
"""Beyond the longest checkpoint, how long a thread waits for the others."""


class InDoubtError(StorageError):
    """Nobody knows whether a checkpoint was recorded."""


@dataclass
class Pace:
    """What the last checkpoints of this rank took, measured. Zero before the first."""

    bytes_per_s: float = 0.0
    closing_s: float = 0.0
    """From this rank's last byte to the verdict: waiting for others, metadata, record."""

    def seconds_for(self, num_bytes: int) -> float | None:
        return num_bytes / self.bytes_per_s + self.closing_s if self.bytes_per_s else None


@dataclass
class _Flight:
    """One checkpoint on its way."""

    record: CheckpointRecord
    thread: threading.Thread | None = None
    made: CheckpointRecord | None = None
    error: TradewindError | None = None

    @property
    def is_over(self) -> bool:
        return self.thread is None or not self.thread.is_alive()


class Checkpointer:
    """One for each rank of an attempt; made, and closed, by all ranks together.

    `in_use` gives the ids of records that may not be pruned; without it, those that models and runs were made from.
    """

    def __init__(self, files: RunFiles, attempt: str, *, keep: Keep | None = None, in_use: InUse | None = None) -> None:
        self.pace = Pace()
        self._files = files
        self._attempt = attempt
        self._keep = keep or Keep()
        self._in_use: InUse = in_use or (lambda: named_by_records(files.store))
        self._group = Group.new(timeout_s=LONGEST_S + HEARD_OF_S)
        self._loops = Group.new(timeout_s=LONGEST_S + HEARD_OF_S)
        self._frames = Frames()
        self._planning = Planning(self._group, self._frames)
        self._image: tuple[Plan, Image] | None = None
        self._flight: _Flight | None = None
        self._last: CheckpointRecord | None = None
        self._count = 0

    def begin(self, state: State, record: CheckpointRecord) -> None:
        """Copy the state and write it in the background; `record` says all but the files. A collective.

        The state may change as soon as this returns. Waits for the one before, and raises what it came to.
        """
        self.wait()
        plan, image, flat = self._planned(state)
        image.take(flat)
        flight = self._flight = _Flight(record)
        until = time.monotonic() + LONGEST_S
        flight.thread = threading.Thread(
            target=self._fly, args=(flight, plan, image, until), name="tradewind-checkpointer", daemon=True
        )
        flight.thread.start()

    @property
    def is_over(self) -> bool:
        """One was begun and this rank knows what came of it: when all ranks do, `wait` takes no time."""
        return self._flight is not None and self._flight.is_over

    def wait(self) -> CheckpointRecord | None:
        """The checkpoint begun last, once, when it is over: at most LONGEST_S and what the store takes for one request.

        Raises on all ranks what has kept it from being made: StorageError and others of the store, RunError.
        """
        flight, self._flight = self._flight, None
        if flight is None:
            return None
        if flight.thread:
            flight.thread.join()
        if flight.error:
            raise flight.error
        return flight.made

    def now(self, state: State, record: CheckpointRecord, *, deadline_s: float) -> CheckpointRecord | None:
        """Write a checkpoint while everybody waits, within a time; None, and nothing written, where it does not fit.

        Whether it fits is reckoned from what the last checkpoints took; without any, it is tried, and given up at the
        deadline. A collective: all ranks give the same deadline. Raises what the store raises.
        """
        until = time.monotonic() + deadline_s
        if not self._landed(until):
            progress.print_line(f"no time for a checkpoint at step {record.step}: one is still being written")
            return None
        if self._last and _is_same(self._last, record):
            return self._last
        plan, image, flat = self._planned(state)
        need_s = self._group.largest(self.pace.seconds_for(plan.num_bytes) or 0.0)
        left_s = -self._group.largest(time.monotonic() - until)
        if need_s > left_s:
            self._say_no_time(record, plan, need_s, left_s)
            return None
        image.take(flat)
        flight = _Flight(record)
        self._write(flight, plan, image, until, AT_ONCE_IN_HASTE)
        if isinstance(flight.error, TooLateError):
            self._say_no_time(record, plan, None, left_s)
            return None
        if flight.error:
            raise flight.error
        return flight.made

    def close(self) -> None:
        """Wait for what was begun and give the memory back. What came of it is said, and not raised."""
        try:
            self.wait()
        except TradewindError as exc:
            progress.print_line(f"WARNING: {exc.message}")
        if self._image:
            self._image[1].close()
            self._image = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        try:
            if kind is None:
                self.wait()
        finally:
            self.close()

    def _planned(self, state: State) -> tuple[Plan, Image, dict[str, Any]]:
        plan, flat = self._planning.plan(state)
        if self._image is None or self._image[0] is not plan:
            if self._image:
                self._image[1].close()
            self._image = plan, Image(plan, flat, self._frames)
        return plan, self._image[1], flat

    def _landed(self, until: float) -> bool:
        """Whether the one on its way has ended on all ranks in time. What came of it is said, and not raised."""
        flight = self._flight
        if flight and flight.thread:
            flight.thread.join(timeout=max(0.0, until - time.monotonic()))
        if not self._loops.all(flight is None or flight.is_over):
            return False
        try:
            self.wait()
        except TradewindError as exc:
            progress.print_line(f"WARNING: {exc.message}")
        return True

    def _say_no_time(self, record: CheckpointRecord, plan: Plan, need_s: float | None, left_s: float) -> None:
        if self._group.rank == 0:
            takes = f"takes about {format_seconds(need_s)}" if need_s else "was not done in time"
            progress.print_line(
                f"no checkpoint at step {record.step}: {format_bytes(plan.num_bytes)} a rank {takes}, "
                f"there were {format_seconds(max(0.0, left_s))}"
            )

    def _fly(self, flight: _Flight, plan: Plan, image: Image, until: float) -> None:
        self._write(flight, plan, image, until, AT_ONCE)
        if flight.made and self._group.rank == 0:
            self._tidy()

    def _write(self, flight: _Flight, plan: Plan, image: Image, until: float, at_once: int) -> None:
        """From the copy to the verdict, which is the same on all ranks."""
        self._count += 1  # a step that was undone comes again, and its files must not meet those of the first time
        prefix = self._files.key(f"{FOLDER}/{flight.record.step:09d}-{self._attempt}-{self._count}")
        began = time.monotonic()
        mine, files = _tried(lambda: write_files(self._files.store, prefix, plan, image, until=until, at_once=at_once))
        wrote = time.monotonic()
        is_known = False
        try:
            flight.made, flight.error = self._verdict(flight.record, prefix, plan, mine or files or (), until)
            is_known = not isinstance(flight.error, InDoubtError)
        except RuntimeError as exc:
            self._group.leave()
            flight.error = RunError(
                f"a rank was lost while the checkpoint of step {flight.record.step} was written: {exc}"
            )
        self._last = flight.made or self._last
        if flight.made and folder_of(flight.made) == prefix:
            self.pace = Pace(plan.num_bytes / max(1e-6, wrote - began), time.monotonic() - wrote)
        elif is_known:  # otherwise there may be a record, which needs its files
            drop_files(self._files.store, prefix, plan)

    def _verdict(
        self, record: CheckpointRecord, prefix: str, plan: Plan, mine: Any, until: float
    ) -> tuple[CheckpointRecord | None, TradewindError | None]:
        parts = self._group.gather(mine)
        if parts is None:
            return self._group.share(None)
        made, error = None, _failure(record, parts)
        if error is None:
            error, made = _tried(lambda: self._record(record, prefix, plan, parts, until))
        return self._group.share((made, error))

    def _record(
        self, record: CheckpointRecord, prefix: str, plan: Plan, parts: list[Any], until: float
    ) -> CheckpointRecord:
        """The last thing that is written."""
        store, key = self._files.store, record_key(self._files, record.step)
        metadata = write_metadata(store, prefix, plan.metadata or b"")
        files = (metadata, *(file for part in parts for file in part))
        made = record.model_copy(update={"files": files, "attempt": self._attempt, "world": self._group.world})
        if time.monotonic() >= until:
            raise TooLateError(f"the checkpoint of step {record.step} took too long")
        try:
            store.create(key, made.to_json())
        except ConflictError:
            made = self._among_two(key, made)
        except StorageError as exc:
            self._look_after(key, made, exc)
        settle(store, key)
        return made

    def _look_after(self, key: str, made: CheckpointRecord, error: StorageError) -> None:
        """After a lost answer: the record may be there, or come yet. Raises InDoubtError unless it is there."""
        with suppress(NotFoundError, StorageError):
            if self._files.store.get(key) == made.to_json():
                return
        raise InDoubtError(error.message, hint=error.hint) from error

    def _among_two(self, key: str, made: CheckpointRecord) -> CheckpointRecord:
        """There is one of this step. Where it has read the same samples it is as good; else its steps were undone."""
        store = self._files.store
        with suppress(IntegrityError):
            there = CheckpointRecord.from_json(store.get(key), where=key)
            check_complete(store, there)
            if _is_same(there, made):
                return there
        set_aside(self._files, key)
        store.create(key, made.to_json())
        return made

    def _tidy(self) -> None:
        """Room is made when the new one is there. That it could not be made is no reason to stop."""
        try:
            prune(self._files, self._keep, self._in_use)
            remove_orphans(self._files)
        except TradewindError as exc:
            progress.print_line(f"WARNING: old checkpoints could not be removed: {exc.message}")


def _is_same(one: CheckpointRecord, other: CheckpointRecord) -> bool:
    """Of the same step, behind the same samples."""
    return (one.step, one.tokens, one.certificate) == (other.step, other.tokens, other.certificate)


def _tried(work: Callable[[], Any]) -> tuple[TradewindError | None, Any]:
    """What work gives, or why it failed: the end of a thread, whose errors travel to all ranks."""
    try:
        return None, work()
    except TradewindError as exc:
        return exc, None
    except Exception as exc:  # noqa: BLE001
        return RunError(f"{type(exc).__name__}: {exc}"), None


def _failure(record: CheckpointRecord, parts: list[Any]) -> TradewindError | None:
    """What all ranks raise for those that could not write, named by the first."""
    failed = {rank: part for rank, part in enumerate(parts) if isinstance(part, TradewindError)}
    if not failed:
        return None
    rank, error = next(iter(failed.items()))
    return type(error)(
        f"the checkpoint of step {record.step} was not made; {len(failed)} of {len(parts)} ranks could not write, "
        f"rank {rank}: {error.message}",
        hint=error.hint,
    )
