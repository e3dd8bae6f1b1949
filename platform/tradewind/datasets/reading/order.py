"""The order in which samples are read: computed for any position by itself, in memory that does not grow with the data.

An epoch shuffles twice. The shards are shuffled, and cut in that order into windows of a few shards; then the samples
of each window are permuted. So only a window of shards has to be at hand at a time, and neither the number of readers
nor where a run was interrupted has any influence: the order depends on the seed, the epoch and the shards alone.

Lanes divide the shuffled epoch into equal parts that advance together: position p belongs to lane p mod lanes. Readers
that share out the lanes among themselves each touch their own shards only.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Self, TypeVar, cast

import numpy as np
import numpy.ma
from numpy.typing import NDArray

Indices = NDArray[np.int64]
Words = NDArray[np.uint64]
K = TypeVar("K")
V = TypeVar("V")

ROUNDS = 4
FEW_SHARDS = 2**16
"""Up to so many, their shuffled numbers are held in memory: half a megabyte. More are permuted by arithmetic."""
WINDOW = 4
"""Shards that are shuffled together. Four of 16 MiB hold 16 thousand samples of 2048 tokens."""


class Permutation:
    """A bijection of 0 … size-1, chosen by a key: any value is computed by itself.

    A balanced Feistel network over the smallest domain of an even number of bits that holds `size`, with cycle walking
    for the values outside it (Black and Rogaway 2002, "Ciphers with Arbitrary Finite Domains").
    """

    def __init__(self, size: int, *, key: str) -> None:
        if size < 1:
            raise ValueError(f"a permutation needs a size of at least 1, not {size}")
        self.size = size
        half_bits = max(1, ((size - 1).bit_length() + 1) // 2)
        self._shift = np.uint64(half_bits)
        self._mask = np.uint64((1 << half_bits) - 1)
        self._keys = _words(f"{key}:{size}")[:ROUNDS]

    def __call__(self, positions: Indices) -> Indices:
        """The values at some positions, each in 0 … size-1."""
        return self._walk(positions, self._encipher)

    def inverse(self, values: Indices) -> Indices:
        """The positions of some values."""
        return self._walk(values, self._decipher)

    def _walk(self, inputs: Indices, step: Callable[[Words], Words]) -> Indices:
        words = step(inputs.astype(np.uint64))
        while (outside := words >= self.size).any():
            words[outside] = step(words[outside])
        return words.astype(np.int64)

    def _encipher(self, words: Words) -> Words:
        left, right = words >> self._shift, words & self._mask
        for key in self._keys:
            left, right = right, left ^ (mix(right ^ key) & self._mask)
        return cast(Words, (left << self._shift) | right)

    def _decipher(self, words: Words) -> Words:
        left, right = words >> self._shift, words & self._mask
        for key in self._keys[::-1]:
            left, right = right ^ (mix(left ^ key) & self._mask), left
        return cast(Words, (left << self._shift) | right)


class Shuffle:
    """A bijection of 0 … size-1 that is held in memory: the order of distinct pseudo-random words, chosen by a key.

    It mixes a handful of values as well as many, which a Feistel network over a tiny domain does not.
    """

    def __init__(self, size: int, *, key: str) -> None:
        words = mix(np.arange(size, dtype=np.uint64) ^ _words(f"{key}:{size}")[0])
        self._values = np.argsort(words)  # no two are equal, so every kind of sort gives the same

    def __call__(self, positions: Indices) -> Indices:
        return self._values[positions]

    def inverse(self, values: Indices) -> Indices:
        return np.argsort(self._values)[values]


class Segments:
    """Samples laid out one shard after the other. Only shards with fewer samples than the largest take memory.

    `short` are the places of those shards, ascending, and `missing` what each of them lacks.
    """

    def __init__(self, count: int, most: int, short: Indices, missing: Indices) -> None:
        self.count, self.most, self.short, self.missing = count, most, short, missing
        self._before = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(missing)])
        self._ends = (short + 1) * most - self._before[1:]
        self.size = count * most - int(self._before[-1])

    @classmethod
    def of(cls, rows: Indices) -> Self:
        """The layout of shards with these numbers of samples."""
        most = int(rows.max(initial=0))
        (short,) = np.nonzero(rows < most)
        return cls(len(rows), most, short, most - rows[short])

    @classmethod
    def uniform(cls, count: int, rows: int) -> Self:
        """The layout of `count` shards with `rows` samples each."""
        return cls(count, rows, np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))

    def permuted(self, permutation: Permutation | Shuffle) -> Segments:
        """The same shards in another order."""
        places = permutation.inverse(self.short)
        ordered = np.argsort(places)
        return Segments(self.count, self.most, places[ordered], self.missing[ordered])

    def start(self, places: Indices) -> Indices:
        """The index of the first sample of some shards."""
        return cast(Indices, places * self.most - self._before[np.searchsorted(self.short, places)])

    def find(self, indices: Indices) -> tuple[Indices, Indices]:
        """The shard of each index, and which of its samples that is."""
        padded = indices + self._before[np.searchsorted(self._ends, indices, side="right")]
        places, rows = np.divmod(padded, self.most)
        return places, rows


class Drawn(NamedTuple):
    """Some samples of one source, each array as long as the positions asked for. `sample` counts through all shards."""

    shard: Indices
    row: Indices
    sample: Indices


class Window(NamedTuple):
    """Shards that are shuffled together, in an epoch."""

    epoch: int
    number: int


@dataclass(frozen=True)
class _Epoch:
    """The shuffled shards of an epoch: `segments` lays them out in the order of `permutation`."""

    permutation: Permutation | Shuffle
    segments: Segments


class Order:
    """The shuffled samples of one source. Positions go on through epochs, each of them shuffled anew."""

    def __init__(self, segments: Segments, *, seed: int, window: int = WINDOW, lanes: int = 1) -> None:
        self.segments = segments
        self.window = window
        self.lanes = min(lanes, segments.size)
        self._seed = seed
        self._epochs: OrderedDict[int, _Epoch] = OrderedDict()
        self._shuffles: OrderedDict[Window, Shuffle] = OrderedDict()

    @property
    def size(self) -> int:
        """Samples in an epoch."""
        return self.segments.size

    def lane(self, positions: Indices) -> Indices:
        return positions % self.size % self.lanes

    def draw(self, positions: Indices) -> Drawn:
        """The samples at some positions."""
        epochs, places = self._places(positions)
        drawn = Drawn(*(np.empty_like(places) for _ in Drawn._fields))
        for epoch in np.unique(epochs).tolist():
            here = epochs == epoch
            for whole, part in zip(drawn, self._draw(epoch, places[here]), strict=True):
                whole[here] = part
        return drawn

    def windows(self, positions: Indices) -> list[Window]:
        """The windows at some positions."""
        epochs, places = self._places(positions)
        found: dict[Window, None] = {}
        for epoch in np.unique(epochs).tolist():
            slots, _ = self._epoch(epoch).segments.find(places[epochs == epoch])
            found.update(dict.fromkeys(Window(epoch, number) for number in np.unique(slots // self.window).tolist()))
        return list(found)

    def windows_behind(self, positions: Indices) -> list[Window]:
        """The windows that the lanes of some positions come to next."""
        lanes, reverse = np.unique(self.lane(positions)[::-1], return_index=True)
        last = positions[::-1][reverse]
        epochs, places = self._places(last)
        entries = [
            self._entry(*numbers)
            for numbers in zip(*(found.tolist() for found in (lanes, last, epochs, places)), strict=True)
        ]
        return self.windows(np.array(entries, dtype=np.int64))

    def shards(self, window: Window) -> Indices:
        """The shards of a window."""
        shuffled = self._epoch(window.epoch)
        first = window.number * self.window
        return shuffled.permutation(np.arange(first, min(first + self.window, self.segments.count)))

    def _places(self, positions: Indices) -> tuple[Indices, Indices]:
        """Epoch and place in the shuffled epoch of each position."""
        epochs, within = np.divmod(positions, self.size)
        offsets, lanes = np.divmod(within, self.lanes)
        return epochs, self._lane_start(lanes) + offsets

    def _lane_start(self, lanes: Indices) -> Indices:
        each, more = divmod(self.size, self.lanes)
        return lanes * each + np.minimum(lanes, more)

    def _draw(self, epoch: int, places: Indices) -> Drawn:
        shuffled = self._epoch(epoch)
        shuffled_places = np.empty_like(places)
        numbers = shuffled.segments.find(places)[0] // self.window
        for number in np.unique(numbers).tolist():
            here = numbers == number
            first, _ = self._bounds(epoch, number)
            shuffled_places[here] = first + self._shuffle(Window(epoch, number))(places[here] - first)
        slots, rows = shuffled.segments.find(shuffled_places)
        shards = shuffled.permutation(slots)
        return Drawn(shards, rows, self.segments.start(shards) + rows)

    def _entry(self, lane: int, position: int, epoch: int, place: int) -> int:
        """The position at which a lane enters the window behind that of a position."""
        slots, _ = self._epoch(epoch).segments.find(np.array([place]))
        _, end = self._bounds(epoch, int(slots[0]) // self.window)
        if end < int(self._lane_start(np.array([lane + 1]))[0]):
            return position + (end - place) * self.lanes
        return (epoch + 1) * self.size + lane

    def _bounds(self, epoch: int, number: int) -> tuple[int, int]:
        """The first place of a window, and of the one behind it."""
        edges = np.array([number * self.window, min((number + 1) * self.window, self.segments.count)])
        first, end = self._epoch(epoch).segments.start(edges).tolist()
        return first, end

    def _shuffle(self, window: Window) -> Shuffle:
        """The permutation of the places within a window."""

        def make() -> Shuffle:
            first, end = self._bounds(*window)
            return Shuffle(end - first, key=f"window:{self._seed}:{window.epoch}:{window.number}")

        return _kept(self._shuffles, window, make, most=2 * self.lanes + 2)

    def _epoch(self, epoch: int) -> _Epoch:
        def make() -> _Epoch:
            kind = Shuffle if self.segments.count <= FEW_SHARDS else Permutation
            permutation = kind(self.segments.count, key=f"shards:{self._seed}:{epoch}")
            return _Epoch(permutation, self.segments.permuted(permutation))

        return _kept(self._epochs, epoch, make, most=3)


def _kept(memo: OrderedDict[K, V], key: K, make: Callable[[], V], *, most: int) -> V:
    """The value of a key, made when it is not among the `most` that were last asked for.

    Several threads may ask, as two readers of one order do; then some value may be made twice.
    """
    value = memo.pop(key, None)
    if value is None:
        value = make()
    memo[key] = value
    if len(memo) > most:
        with contextlib.suppress(KeyError):  # others have emptied it meanwhile
            memo.popitem(last=False)
    return value


def mix(words: Words) -> Words:
    """The finalizer of SplitMix64 (Steele, Lea and Flood 2014), a bijection of 64 bits.

    Every bit of the input changes about half of the output's.
    """
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def _words(key: str) -> Words:
    return np.frombuffer(hashlib.sha256(key.encode()).digest(), dtype="<u8")
