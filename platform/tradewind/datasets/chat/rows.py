"""Conversations side by side in rows of one length, and rows in shards.

A sample of training has one token more than a row, the first of the next one: it is only a target, and never learned.
So row `r` of a shard begins at token `r` × `context`, and behind the last row there is one token more.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence

import numpy as np

from tradewind.datasets.blocks import Tokens
from tradewind.datasets.chat.marks import CONTEXT_BIT, DTYPE, END_BIT, split
from tradewind.records import ChatSplit

ROWS_AT_ONCE = 128
"""Tokens of so many rows are held, and packed together: 1 MiB for rows of 2048."""


class RowPacker:
    """Makes shards of conversations. Those longer than a row are cut at its end, or left out."""

    def __init__(self, *, context: int, end: int, shard_bytes: int, cuts: bool) -> None:
        self._context, self._end, self._cuts = context, end, cuts
        self._per_shard = (shard_bytes // DTYPE.itemsize - 1) // context
        self._held: list[Tokens] = []
        self._length = 0
        self._rows: list[Tokens] = []
        self.counts = ChatSplit()

    def add(self, conversation: Tokens) -> Iterator[Tokens]:
        """The shards that have become full."""
        fitting = self._fitting(conversation)
        if fitting is None:
            return
        self._held.append(fitting)
        self._length += len(fitting)
        if self._length >= ROWS_AT_ONCE * self._context:
            self._pack()
            while len(self._rows) >= self._per_shard:
                yield self._shard()

    def rest(self) -> Iterator[Tokens]:
        """What is left at the end."""
        self._pack()
        while self._rows:
            yield self._shard()

    def _fitting(self, conversation: Tokens) -> Tokens | None:
        """A conversation that fits into a row and has a token to learn. Where one is cut, it is not learned to end."""
        is_cut = len(conversation) > self._context
        kept = conversation[: self._context].copy()
        if is_cut:
            kept[-1] = self._end | CONTEXT_BIT | END_BIT
        learned = int(split(kept)[1].sum())
        if not learned or (is_cut and not self._cuts):
            self._count(dropped=1)
            return None
        self._count(trained=learned, cut=int(is_cut))
        return kept

    def _pack(self) -> None:
        padding = self._end | CONTEXT_BIT
        for numbers in best_fit([len(one) for one in self._held], self._context):
            used = np.concatenate([self._held[number] for number in numbers])
            self._rows.append(np.pad(used, (0, self._context - len(used)), constant_values=padding))
            self._count(rows=1, padding=self._context - len(used))
        self._held, self._length = [], 0

    def _shard(self) -> Tokens:
        rows, self._rows = self._rows[: self._per_shard], self._rows[self._per_shard :]
        return np.append(np.concatenate(rows), self._end | CONTEXT_BIT).astype(DTYPE)

    def _count(self, **more: int) -> None:
        self.counts += ChatSplit(**more)


def best_fit(lengths: Sequence[int], size: int) -> list[list[int]]:
    """Which of some lengths share a row of `size`: the longest first, each where it leaves the least room.

    Best-fit decreasing needs at most 11/9 of the fewest rows, and 4 more (Johnson et al. 1974, as for first-fit).
    """
    rows: list[list[int]] = []
    rooms: list[tuple[int, int]] = []
    """Free tokens of each row, ascending, and which row it is."""
    for number in sorted(range(len(lengths)), key=lambda number: -lengths[number]):
        place = bisect_left(rooms, (lengths[number], -1))
        if place == len(rooms):
            rows.append([])
            room, row = size, len(rows) - 1
        else:
            room, row = rooms.pop(place)
        rows[row].append(number)
        insort(rooms, (room - lengths[number], row))
    return rows
