"""Global batches, the same whoever reads them: which samples each step takes, and which of them a reader gets.

Step s takes the positions s·B … (s+1)·B-1 of the stream, sorted by lane, and reader r of n gets the r-th part of that.
So the state of a run is one integer, any number of readers sees the same global batches, and readers with lanes of
their own touch only the shards of those.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tradewind.datasets.reading.mixture import Mixture
from tradewind.datasets.reading.order import WINDOW, Indices, Order, Window
from tradewind.datasets.reading.samples import Samples
from tradewind.errors import SpecError

ALGORITHM = 1
"""Counts up with every change of what is read at a position."""


@dataclass(frozen=True)
class Draws:
    """The samples of one reader in some successive steps, each array [steps, rows]. `sample` counts within a source."""

    position: Indices
    source: Indices
    within: Indices
    """Position in the stream of the source."""
    sample: Indices
    shard: Indices
    row: Indices


class Batches:
    """Batches of `sequences` samples, drawn from one or more sources by their weights, shuffled anew each epoch.

    `window` is how many shards are shuffled together. `lanes` is into how many parts the nodes may share out the data;
    it belongs to the order, so it stays when the number of nodes changes. Reads nothing but the lists of shards.
    """

    def __init__(
        self,
        sources: Samples | Sequence[Samples],
        *,
        sequences: int,
        seed: int,
        weights: Sequence[float] | None = None,
        window: int = WINDOW,
        lanes: int = 1,
    ) -> None:
        for name, value in {"sequences": sequences, "window": window, "lanes": lanes}.items():
            if value < 1:
                raise SpecError(f"{name} is at least 1, not {value}")
        self.sources = [sources] if isinstance(sources, Samples) else list(sources)
        self.sequences = sequences
        self.width = _common_width(self.sources)
        _check_one_tokenizer(self.sources)
        self.mixture = Mixture(weights or [1] * len(self.sources))
        if len(self.mixture.weights) != len(self.sources):
            raise SpecError(f"{len(self.sources)} sources cannot have {len(self.mixture.weights)} weights")
        self.orders = [
            Order(source.segments, seed=seed + number, window=window, lanes=lanes)
            for number, source in enumerate(self.sources)
        ]
        self._identity = {"seed": seed, "window": window, "lanes": lanes, "sequences": sequences}

    @property
    def size(self) -> int:
        """Samples in an epoch of all sources together."""
        return sum(source.size for source in self.sources)

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger]:
        return max((source.dtype for source in self.sources), key=lambda dtype: dtype.itemsize)

    @cached_property
    def fingerprint(self) -> bytes:
        """16 bytes that change when anything changes that decides which sample is at a position."""
        sources = [source.fingerprint for source in self.sources]
        told = {"algorithm": ALGORITHM, "sources": sources, "weights": self.mixture.weights, **self._identity}
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).digest()[:16]

    def check_same(self, fingerprint: bytes) -> None:
        """Raises SpecError when a state is of another order than this."""
        if fingerprint != self.fingerprint:
            raise SpecError(
                "the state was saved with another dataset version, seed, batch, window, lanes or mixture",
                hint="read the same as when it was saved; the number of readers alone may differ",
            )

    def rows(self, *, rank: int = 0, world: int = 1, length: int | None = None) -> range:
        """Which rows of a global batch are a reader's; the parts differ by at most one row."""
        length = self.sequences if length is None else length
        return range(length * rank // world, length * (rank + 1) // world)

    def draws(self, steps: range, *, rank: int = 0, world: int = 1, length: int | None = None) -> Draws:
        """What a reader reads in some steps. `length` shortens the batches, for a last one that is not full."""
        length = self.sequences if length is None else length
        first = np.array(steps, dtype=np.int64)[:, None] * self.sequences
        positions = first + np.arange(length, dtype=np.int64)
        sources, within = self.mixture(positions)
        mine = self.rows(rank=rank, world=world, length=length)
        if any(order.lanes > 1 for order in self.orders):
            by_lane = np.argsort(self._lanes(sources, within), axis=1, kind="stable")[:, mine.start : mine.stop]
            positions, sources, within = (np.take_along_axis(a, by_lane, axis=1) for a in (positions, sources, within))
        else:
            positions, sources, within = (a[:, mine.start : mine.stop] for a in (positions, sources, within))
        sample, shard, row = (np.empty_like(positions) for _ in range(3))
        for number, order in enumerate(self.orders):
            here = sources == number
            shard[here], row[here], sample[here] = order.draw(within[here])
        return Draws(positions, sources, within, sample, shard, row)

    def windows(self, draws: Draws) -> list[tuple[int, Window]]:
        """The windows of each source that some draws are from."""
        return [
            (number, window)
            for number, order, positions in self._by_source(draws)
            for window in order.windows(positions)
        ]

    def ahead(self, draws: Draws) -> list[tuple[int, int]]:
        """Shards with samples, as source and number: of the windows of some draws, then of the windows behind those."""
        windows = self.windows(draws) + [
            (number, window)
            for number, order, positions in self._by_source(draws)
            for window in order.windows_behind(positions)
        ]
        found = [(number, shard) for number, window in windows for shard in self.orders[number].shards(window).tolist()]
        return [(number, shard) for number, shard in dict.fromkeys(found) if self.sources[number].rows[shard]]

    def _by_source(self, draws: Draws) -> Iterator[tuple[int, Order, Indices]]:
        for number, order in enumerate(self.orders):
            positions = draws.within[draws.source == number]
            if positions.size:
                yield number, order, np.sort(positions)

    def _lanes(self, sources: Indices, within: Indices) -> Indices:
        lanes = np.empty_like(within)
        for number, order in enumerate(self.orders):
            here = sources == number
            lanes[here] = order.lane(within[here])
        return lanes


def _common_width(sources: Sequence[Samples]) -> int:
    if not sources:
        raise SpecError("there is nothing to read", hint="name at least one dataset")
    widths = {source.width for source in sources}
    if len(widths) > 1:
        raise SpecError(f"the sources have samples of {sorted(widths)} tokens", hint="give all the same length")
    return widths.pop()


def _check_one_tokenizer(sources: Sequence[Samples]) -> None:
    """Ids of different tokenizers mean different things. Datasets of bare ids are taken to know what they mean."""
    known = [(source.name, source.tokenizer) for source in sources if source.tokenizer]
    for name, tokenizer in known[1:]:
        if tokenizer != known[0][1]:
            raise SpecError(
                f"{known[0][0]} and {name} were made with different tokenizers",
                hint=f"add {name.partition('@')[0]} again with `tokenizer: {{from: {known[0][0]}}}`",
            )
