"""Reads global batches ahead of whoever trains on them.

A thread makes the batches: it looks up which samples the next steps need, has their shards and those of the windows
behind brought here by other threads, and copies the samples into one array for several steps. The first step does not
wait for whole shards but reads its samples as ranges. Everything stays in the type of the shards, so that uint16 goes
to the GPU and becomes int64 there.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np

from tradewind.datasets.blocks import Tokens
from tradewind.datasets.reading.batches import Batches, Draws
from tradewind.datasets.reading.certificate import digests
from tradewind.datasets.reading.order import Indices, Window, Words
from tradewind.datasets.reading.window import Place, Shards
from tradewind.errors import SpecError
from tradewind.storage.cache import Cache, default_cache

AT_ONCE_BYTES = 2 * 1024**2
"""Several steps are copied together up to this size: enough that the work for each step hardly counts."""
AHEAD = 2
"""So many arrays of several steps wait for the consumer."""
THREADS = 4
"""Downloads at the same time. With more of them, the shards that are needed first come later."""
FOREVER = 2**62


@dataclass(frozen=True)
class Batch:
    """A reader's part of a global batch: `tokens` [rows, width], and which samples they are."""

    step: int
    tokens: Tokens
    source: Indices
    sample: Indices
    digest: Words
    """For `Certificate.add`, once it is summed over all readers."""
    rows: int
    """Of all readers together."""


class Reader:
    """Iterates over the batches of one of `world` readers from `start` samples on; for ever, or for some epochs.

    `worker` of `workers` takes every `workers`-th step, which is how several processes feed one consumer. Everything is
    verified. What fails is raised where the batch is asked for: IntegrityError, StorageError, CapacityError, and
    SpecError for a start within a batch.
    `when_closed` is called whenever an iteration has ended.
    """

    def __init__(
        self,
        batches: Batches,
        *,
        rank: int = 0,
        world: int = 1,
        worker: int = 0,
        workers: int = 1,
        start: int = 0,
        epochs: int | None = None,
        cache: Cache | None = None,
        when_closed: Callable[[], object] | None = None,
    ) -> None:
        if not 0 <= rank < world or not 0 <= worker < workers:
            raise SpecError(f"reader {rank}, worker {worker} is not one of {world} readers with {workers} workers each")
        if start < 0:
            raise SpecError(f"sample {start} is before the first")
        self.batches = batches
        self._when_closed = when_closed
        self.rank, self.world, self.worker, self.workers = rank, world, worker, workers
        self.end = None if epochs is None else epochs * batches.size
        self.cache = cache or default_cache()
        self.samples = start
        """Samples of the stream that all readers together have been given."""

    def state_dict(self) -> dict[str, Any]:
        """Where the reading stands: 24 bytes that are the same for every reader."""
        return {"order": self.batches.fingerprint, "samples": self.samples}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there, with any number of readers. Raises SpecError when the state is of another order."""
        self.batches.check_same(state["order"])
        self.samples = int(state["samples"])

    def __iter__(self) -> Generator[Batch]:
        """Threads read ahead until the iteration ends or is closed."""
        try:
            with _Ahead(self) as ahead:
                for batch in ahead:
                    self.samples = batch.step * self.batches.sequences + batch.rows
                    yield batch
        finally:
            if self._when_closed:
                self._when_closed()


class _Ahead:
    """The thread that makes batches, for one iteration."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._shards = Shards(reader.batches.sources, reader.cache, threads=THREADS)
        self._made: queue.Queue[list[Batch] | BaseException | None] = queue.Queue(AHEAD)
        self._windows: list[tuple[int, Window]] = []
        self._has_begun = False
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._make_all, name="tradewind-reader", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __iter__(self) -> Iterator[Batch]:
        while (made := self._made.get()) is not None:
            if isinstance(made, BaseException):
                raise made
            yield from made

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._stopped.set()
        self._shards.stop()
        while self._thread.is_alive():
            _drain(self._made)
            self._thread.join(0.05)
        self._shards.close()

    def _make_all(self) -> None:
        try:
            for steps in self._schedule():
                if self._stopped.is_set() or not self._hand_over(self._make(steps)):
                    return
            self._hand_over(None)
        except BaseException as exc:  # noqa: BLE001 - the end of the thread: it is raised where batches are taken
            self._hand_over(exc)

    def _schedule(self) -> Iterator[range]:
        """The steps that are made together: few at first, so that the first batch comes early."""
        reader, batches = self._reader, self._reader.batches
        rows = max(1, len(batches.rows(rank=reader.rank, world=reader.world)))
        most = max(1, AT_ONCE_BYTES // (rows * batches.width * batches.dtype.itemsize))
        if reader.end is not None and reader.samples >= reader.end:
            return
        step, within = divmod(reader.samples, batches.sequences)
        if within:
            raise SpecError(
                f"{reader.samples} samples are no whole number of batches of {batches.sequences}",
                hint="an epoch that ended with a shorter batch cannot be prolonged; ask for all epochs at once",
            )
        step += (reader.worker - step) % reader.workers
        last, rest = divmod(reader.end, batches.sequences) if reader.end is not None else (FOREVER, 0)
        count = 1
        while step < last:
            steps = range(step, min(step + count * reader.workers, last), reader.workers)
            yield steps
            step, count = steps[-1] + reader.workers, min(most, count * 2)
        if step == last and rest:
            yield range(last, last + 1)

    def _make(self, steps: range) -> list[Batch]:
        reader, batches = self._reader, self._reader.batches
        length = batches.sequences
        if reader.end is not None:
            length = min(length, reader.end - steps[0] * length)
        draws = batches.draws(steps, rank=reader.rank, world=reader.world, length=length)
        tokens = self._gather(draws)
        summed = digests(draws)
        return [
            Batch(step, tokens[i], draws.source[i], draws.sample[i], summed[i], length) for i, step in enumerate(steps)
        ]

    def _gather(self, draws: Draws) -> Tokens:
        """The tokens of all rows, [steps, rows, width]."""
        batches, rows = self._reader.batches, draws.row.ravel()
        places, group = _group(draws)
        where = [np.flatnonzero(group == number) for number in range(len(places))]
        parts = self._first_parts(places, [rows[here] for here in where])
        if parts is None:
            self._look_ahead(draws)
            parts = [self._shards.samples(place)[rows[here]] for place, here in zip(places, where, strict=True)]
        found = np.empty((rows.size, batches.width), dtype=batches.dtype)
        for here, part in zip(where, parts, strict=True):
            found[here] = part
        return found.reshape(*draws.row.shape, batches.width)

    def _first_parts(self, places: list[Place], rows: list[Indices]) -> list[Tokens] | None:
        """The samples of the first step, without any shard; None for later steps, or where ranges do not do."""
        if self._has_begun:
            return None
        self._has_begun = True
        return self._shards.parts(places, rows)

    def _look_ahead(self, draws: Draws) -> None:
        """Have the right shards brought here, whenever the reading comes to another window."""
        windows = self._reader.batches.windows(draws)
        if windows != self._windows:
            self._windows = windows
            self._shards.want(self._reader.batches.ahead(draws))

    def _hand_over(self, made: list[Batch] | BaseException | None) -> bool:
        """Wait for room in the queue. False when nobody will take it any more."""
        while not self._stopped.is_set():
            try:
                self._made.put(made, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False


def _group(draws: Draws) -> tuple[list[Place], Indices]:
    """The shards of some draws, and for each row the number of its own among them."""
    keys = draws.source.ravel() << 40 | draws.shard.ravel()
    distinct, group = np.unique(keys, return_inverse=True)
    return [(int(key) >> 40, int(key) & (1 << 40) - 1) for key in distinct], group


def _drain(waiting: queue.Queue[Any]) -> None:
    try:
        while True:
            waiting.get_nowait()
    except queue.Empty:
        return
