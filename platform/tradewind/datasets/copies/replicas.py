"""Files read from whichever of several copies is best at the moment; only verified bytes ever come out.

A copy in this zone or region goes first, then the one that answers fastest, then the cheapest. One that fails, or gives
wrong bytes, is replaced by the next for that file and left alone for a while. One that takes longer than it nearly
always does gets company: the next copy is asked too, and whoever is whole first wins. Every byte that comes is counted,
the loser's too, and no request is sent that the egress budget does not cover.
"""

from __future__ import annotations

import fcntl
import math
import os
import queue
import shutil
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Literal, TypeVar, cast

from tradewind.datasets.copies.budget import EgressBudget, Hold
from tradewind.datasets.copies.health import Health
from tradewind.errors import (
    ArchivedError,
    AuthError,
    CapacityError,
    ConflictError,
    IntegrityError,
    QuotaError,
    SpecError,
    StorageError,
    TradewindError,
)
from tradewind.records import Place, StoredFile
from tradewind.storage import Store
from tradewind.storage.integrity import altered, check_file, owned, unwritable, write_verified
from tradewind.storage.origin import Check
from tradewind.storage.transfer.meter import TransferMeter, spanned
from tradewind.storage.transfer.place import this_place
from tradewind.storage.transfer.tariffs import Tariff, tariff

T = TypeVar("T")

NEAR = {"none": 0, "zone": 1, "region": 2}
FAR = 3
UNFINISHED = ".part"
NOWHERE = Path()
AT_ONCE = 2
SOONEST_FIRST: tuple[type[TradewindError], ...] = (
    StorageError,
    ConflictError,
    QuotaError,
    AuthError,
    ArchivedError,
    SpecError,
)
"""What an error of several copies is: what may pass by itself, then what a person can change, then that all is lost."""
FIRST_PATIENCE_S = 5.0
"""Until enough was measured, a copy from which nothing has come for so long is not waited for alone."""


@dataclass(frozen=True)
class Source:
    """A store with all files of a dataset, and where it is."""

    store: Store
    place: Place

    def __str__(self) -> str:
        return f"{self.store.url} ({self.place})"


class Replicas:
    """An `Origin` of several copies. `prefer="cheap"` puts the price before all else, and asks one copy at a time."""

    def __init__(
        self,
        sources: Sequence[Source],
        *,
        budget: EgressBudget | None = None,
        prefer: Literal["near", "cheap"] = "near",
        meter: TransferMeter | None = None,
    ) -> None:
        self.sources = tuple(sources)
        self.meter = meter or TransferMeter()
        self._budget = budget
        self._prefer: Literal["near", "cheap"] = prefer
        self._health = tuple(Health() for _ in self.sources)

    def __reduce__(self) -> tuple[object, ...]:
        return _open, (self.sources, self._budget, self._prefer)

    def local_path(self, file: StoredFile) -> Path | None:
        """The file in a folder of this machine; where there are other copies, only if it is whole."""
        for source in self.sources:
            path = source.store.local_path(file.key)
            if path is not None and (len(self.sources) == 1 or _is_whole(path, file)):
                return path
        return None

    def download(self, file: StoredFile, target: Path, *, what: str) -> None:
        def run(attempt: _Attempt[None]) -> None:
            write_verified(cast(Store, attempt), file, attempt.target, what=what)

        winner = self._read(run, file, file.num_bytes, what, target=target)
        if winner.is_beside:
            try:
                _copy(winner.target, target)
            finally:
                winner.discard()

    def get_ranges(
        self, file: StoredFile, ranges: Sequence[tuple[int, int]], *, check: Check, what: str
    ) -> list[bytes]:
        num_bytes = spanned(ranges)

        def run(attempt: _Attempt[list[bytes]]) -> list[bytes]:
            with owned(file, what=what):
                parts = attempt.source.store.get_ranges(file.key, ranges)
            attempt.count(num_bytes)
            if not check(parts):
                raise altered(file, "has bytes that do not match their checksums", what=what)
            return parts

        return self._read(run, file, num_bytes, what).value[0]

    def _read(
        self,
        run: Callable[[_Attempt[T]], T],
        file: StoredFile,
        num_bytes: int,
        what: str,
        *,
        target: Path = NOWHERE,
    ) -> _Attempt[T]:
        """The first attempt that succeeds. Whatever happens, no other one writes to the target after that."""
        running: list[_Attempt[T]] = []
        try:
            return self._race(run, file, num_bytes, what, target, running)
        finally:
            for attempt in running:
                attempt.cancel()

    def _race(
        self,
        run: Callable[[_Attempt[T]], T],
        file: StoredFile,
        num_bytes: int,
        what: str,
        target: Path,
        running: list[_Attempt[T]],
    ) -> _Attempt[T]:
        here = this_place()
        waiting = deque(self._ranked(here, num_bytes))
        is_race = self._prefer == "near" and len(waiting) > 1
        finished: queue.SimpleQueue[_Attempt[T]] = queue.SimpleQueue()
        failures: dict[int, TradewindError] = {}
        is_due = True
        while waiting or running:
            if waiting and (not running or (is_due and len(running) < AT_ONCE)):
                index = waiting.popleft()
                is_beside = bool(running) and target != NOWHERE
                price = self._tariff(index, here)
                attempt = _Attempt(self.sources[index], price, index, num_bytes, target, is_beside, run, self.meter)
                try:
                    hold = self._hold(attempt, what)
                except TradewindError as exc:  # too little left, or the account cannot be reached
                    failures[index] = exc
                    continue
                running.append(attempt)
                attempt.start(hold, finished, in_thread=is_race)
                is_due = False
            try:
                done = finished.get(timeout=self._patience_s(running[-1]) if waiting and is_race else None)
            except queue.Empty:
                is_due = self._patience_s(running[-1]) <= 0
                continue
            running.remove(done)
            if done.error is None:
                self._health[done.index].succeeded(num_bytes, first_s=done.first_s or 0.0, total_s=done.total_s)
                for other in running:
                    self._health[other.index].overtaken(num_bytes, first_s=other.first_s, total_s=other.so_far_s)
                return done
            if not isinstance(done.error, TradewindError) or isinstance(done.error, CapacityError):
                raise done.error
            if not isinstance(done.error, ArchivedError):  # says nothing about its other files
                self._health[done.index].failed()
            failures[done.index] = done.error
            is_due = True
        raise self._no_copy(file, failures, what)

    def _ranked(self, here: Place, num_bytes: int) -> list[int]:
        """The sources in the order in which to ask them."""
        expected = [health.expected_s(num_bytes) for health in self._health]
        best = min((seconds for seconds in expected if seconds is not None), default=0.0)

        def rank(index: int) -> tuple[float, ...]:
            found = self._tariff(index, here)
            seconds = expected[index]
            # In powers of two: a difference that is within the noise does not outweigh a price.
            slowness = round(math.log2(max(seconds if seconds is not None else best, 1e-4)))
            near = NEAR.get(found.boundary, FAR)
            order = (near, slowness, found.usd_per_gb) if self._prefer == "near" else (found.usd_per_gb, near, slowness)
            return (self._health[index].is_cooling, *order, index)

        return sorted(range(len(self.sources)), key=rank)

    def _tariff(self, index: int, here: Place) -> Tariff:
        return tariff(self.sources[index].place, here)

    def _patience_s(self, attempt: _Attempt[T]) -> float:
        measured = self._health[attempt.index].patience_s(attempt.num_bytes)
        left = FIRST_PATIENCE_S - attempt.quiet_s if measured is None else measured - attempt.so_far_s
        return max(0.0, left)

    def _hold(self, attempt: _Attempt[T], what: str) -> Hold | None:
        """Pay for a request before it is sent. Raises QuotaError."""
        price = attempt.tariff.nusd(attempt.num_bytes)
        return self._budget.hold(price, what=f"reading {what} from {attempt.source}") if self._budget else None

    def _no_copy(self, file: StoredFile, failures: dict[int, TradewindError], what: str) -> TradewindError:
        """One error of all. What may pass by itself goes before what needs a person."""
        if len(failures) == 1:
            return next(iter(failures.values()))
        kinds = [type(error) for error in failures.values()]
        kind = next((kind for kind in SOONEST_FIRST if kind in kinds), IntegrityError)
        causes = "; ".join(f"{self.sources[index]}: {error.message}" for index, error in failures.items())
        hints = (error.hint for error in failures.values() if error.hint and isinstance(error, kind))
        return kind(f"{what}: none of {len(failures)} copies gave {file.key}: {causes}", hint=next(hints, None))


class _CancelledError(Exception):
    """Another attempt was faster."""


@dataclass(eq=False)
class _Attempt(Generic[T]):
    """One request to one source. What it streams may be written until it is cancelled."""

    source: Source
    tariff: Tariff
    index: int
    num_bytes: int
    target: Path
    is_beside: bool
    """Whether it writes a file of its own, beside the one that is wanted; that is the target once it has begun."""
    run: Callable[[_Attempt[T]], T]
    meter: TransferMeter
    received: int = 0
    first_s: float | None = None
    last_s: float = 0.0
    total_s: float = 0.0
    error: BaseException | None = None
    value: list[T] = field(default_factory=list)
    _began: float = field(default_factory=time.monotonic)
    _pieces: Generator[bytes] | None = None
    _streams: threading.Event = field(default_factory=threading.Event)
    _writes: threading.Lock = field(default_factory=threading.Lock)
    _is_cancelled: bool = False
    _locked: int = -1
    """The open file of its own."""

    @property
    def so_far_s(self) -> float:
        return time.monotonic() - self._began

    @property
    def quiet_s(self) -> float:
        """For how long nothing has come."""
        return self.so_far_s - self.last_s

    def start(self, hold: Hold | None, finished: queue.SimpleQueue[_Attempt[T]], *, in_thread: bool) -> None:
        def work() -> None:
            self._work()
            if hold:
                hold.settle(self.tariff.nusd(self.received))
            finished.put(self)

        if in_thread:
            threading.Thread(target=work, name="tradewind-read", daemon=True).start()
        else:
            work()

    def count(self, num_bytes: int) -> None:
        """So many bytes have come."""
        self.last_s = self.so_far_s
        self.first_s = self.last_s if self.first_s is None else self.first_s
        self.received += num_bytes
        self.meter.count(self.source.store.url, self.tariff, num_bytes)

    def stream(self, key: str) -> Generator[bytes]:
        """The object's pieces. Whoever takes one has time to write it until it asks for the next."""
        self._pieces = self._gated(key)
        return self._pieces

    def cancel(self) -> None:
        """Return when nothing more will be written."""
        self._is_cancelled = True
        if self.target == NOWHERE:
            return
        self._streams.wait()  # before that, its file may be about to be opened, which empties it
        with self._writes:
            self.discard()

    def discard(self) -> None:
        """Remove the file of its own."""
        locked, self._locked = self._locked, -1
        if locked >= 0:
            self.target.unlink(missing_ok=True)
            fcntl.flock(locked, fcntl.LOCK_UN)  # closing alone leaves the lock with a child that was forked meanwhile
            os.close(locked)

    def _gated(self, key: str) -> Generator[bytes]:
        self._streams.set()
        for piece in self.source.store.stream(key):
            self.count(len(piece))
            with self._writes:
                if self._is_cancelled:
                    raise _CancelledError
                yield piece

    def _work(self) -> None:
        try:
            if self.is_beside:
                self.target, self._locked = _open_beside(self.target)
            self.value.append(self.run(self))
        except BaseException as exc:  # noqa: BLE001 - whoever waits for it raises it
            self.error = exc
        self.total_s = self.so_far_s
        if self._pieces is not None:
            self._pieces.close()
        if self.error is not None:
            with self._writes:
                self.discard()
        self._streams.set()


def _open(sources: tuple[Source, ...], budget: EgressBudget | None, prefer: Literal["near", "cheap"]) -> Replicas:
    return Replicas(sources, budget=budget, prefer=prefer)


def _is_whole(path: Path, file: StoredFile) -> bool:
    try:
        check_file(path, file, what=file.key)
    except (IntegrityError, StorageError):
        return False
    return True


def _open_beside(target: Path) -> tuple[Path, int]:
    """A new file with a lock on it: a cache that it lies in removes it only when this process is gone."""
    while True:
        path = target.with_name(f"{target.name}.{uuid.uuid4().hex}{UNFINISHED}")
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        except OSError as exc:
            raise unwritable(path, exc) from exc
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return path, descriptor
        os.close(descriptor)  # it was removed before it was locked


def _copy(source: Path, target: Path) -> None:
    """Into the file that is there, because whoever else waits for it has it open."""
    try:
        shutil.copyfile(source, target)
    except OSError as exc:
        raise unwritable(target, exc) from exc
