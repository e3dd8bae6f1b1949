"""Looks for setups of a training run that fit, for all machines at once: prices and speeds do not matter here."""

from __future__ import annotations

import bisect
import functools
from collections.abc import Iterator
from dataclasses import replace

from tradewind.catalog.chip import BITS
from tradewind.families import parameters
from tradewind.planner.axes import divided_counts, training_layouts
from tradewind.planner.batches import divisors
from tradewind.planner.fit import training_memory
from tradewind.planner.layout import Layout, Recompute, TrainingSetup
from tradewind.planner.trainer import ON_ACCELERATORS
from tradewind.planner.work import TrainingWork

MOST_SETUPS = 24
PASS_TOKENS = 16384
"""Tokens in a micro-batch on one chip beyond which matrix products gain little; from 8192 on they gain 3 % for Llama
3.1 8B on an H200 (measured)."""
FILLING_TOKENS = 4096
"""Tokens in a micro-batch from which matrix products of large models fill a chip. Estimated."""
BUBBLE = 0.10
"""Share of a step that a pipeline may wait, where the batch allows: (p − 1) / (m + p − 1)."""
RECOMPUTES: tuple[Recompute, ...] = ("none", "selective", "full")


@functools.lru_cache(maxsize=64)
def search(work: TrainingWork) -> Search:
    """The one search for that work."""
    return Search(work)


class Search:
    """Candidates for one piece of work. What does not depend on a chip's memory is found once for all machines."""

    def __init__(self, work: TrainingWork) -> None:
        self.work = work
        self._found: dict[tuple[int, int, int], tuple[list[TrainingSetup], float | None]] = {}
        self._places: dict[tuple[int, int, bool], list[_Place]] = {}
        self._counts: dict[int, list[int]] = {}
        self._least_kept = 4.0 * parameters(work.shape) * BITS[work.master] / 8

    def setups(self, chips: int, nodes: int, usable: int) -> tuple[list[TrainingSetup], float | None]:
        """Setups on the largest number of chips that has some; where none has, the least memory that is too much."""
        key = (chips, nodes, usable)
        if key not in self._found:
            self._found[key] = self._look(chips, chips * nodes, usable)
        return self._found[key]

    def _look(self, chips: int, total: int, usable: int) -> tuple[list[TrainingSetup], float | None]:
        if self._least_kept / total > usable:
            return [], self._least_kept / total
        tried: list[_Place] = []
        for used in self._chip_counts(chips, total):
            if self._least_kept / used > usable:
                break
            for deep in (False, True):
                places = self._places_of(chips, used, deep)
                if found := [setup for place in places for setup in place.fitting(usable)]:
                    return sorted(found, key=_simplest)[:MOST_SETUPS], None
                tried = tried or places
        return [], min((place.least for place in tried), default=None)

    def _places_of(self, chips: int, used: int, deep: bool) -> list[_Place]:
        key = (chips, used, deep)
        if key not in self._places:
            layouts = training_layouts(self.work, chips, used, deep=deep)
            self._places[key] = [_Place(self.work, layout, self._least_kept) for layout in layouts]
        return self._places[key]

    def _chip_counts(self, chips: int, total: int) -> list[int]:
        """Numbers of chips over which model and batch divide, from the largest that is there on."""
        if chips not in self._counts:
            self._counts[chips] = sorted(divided_counts(self.work, chips))
        counts = self._counts[chips]
        return counts[: bisect.bisect_right(counts, total)][::-1]


class _Place:
    """One layout with what can be done in it, in the order of preference, and what each takes."""

    def __init__(self, work: TrainingWork, layout: Layout, kept_bytes: float) -> None:
        self._work = work
        self._layout = layout
        self._kept = kept_bytes / (layout.chips // layout.replicate)
        self._more = _passes_to_try(work, layout)
        self._tried: list[tuple[int, TrainingSetup]] = []
        self._whole: dict[int, tuple[int, TrainingSetup]] = {}

    @functools.cached_property
    def least(self) -> int:
        """The least memory that it takes: one sequence at a time, with all recomputed."""
        return self._measured(TrainingSetup(self._layout, 1, self._work.sequences // self._layout.data, "full"))[0]

    def fitting(self, usable: int) -> Iterator[TrainingSetup]:
        """The first that fits; and the same with weights kept whole over its passes, where that fits too."""
        if self._kept > usable or self.least > usable:
            return
        for place, (need, setup) in enumerate(self._all()):
            if need > usable:
                continue
            yield setup
            if setup.micro_batches > 1 and setup.layout.shard > 1:
                if place not in self._whole:
                    self._whole[place] = self._measured(replace(setup, zero=2))
                if self._whole[place][0] <= usable:
                    yield self._whole[place][1]
            return

    def _all(self) -> Iterator[tuple[int, TrainingSetup]]:
        yield from self._tried
        for recompute, micro_batch in self._more:
            passes = self._work.sequences // self._layout.data // micro_batch
            self._tried.append(self._measured(TrainingSetup(self._layout, micro_batch, passes, recompute)))
            yield self._tried[-1]

    def _measured(self, setup: TrainingSetup) -> tuple[int, TrainingSetup]:
        return training_memory(self._work, setup, ON_ACCELERATORS).total_bytes, setup


def _passes_to_try(work: TrainingWork, layout: Layout) -> Iterator[tuple[Recompute, int]]:
    """Micro-batches with how much is recomputed for them, the fastest first.

    Recomputing costs more than short micro-batches do, as long as they fill the chip; at last one sequence at a time.
    """
    share = work.sequences // layout.data
    most = PASS_TOKENS * layout.context // work.tokens_per_sequence
    if layout.pipeline > 1:
        most = min(most, int(share * BUBBLE / (1 - BUBBLE) / (layout.pipeline - 1)))
    sizes = [size for size in divisors(share) if size <= max(1, most)]
    full = [size for size in sizes if size * work.tokens_per_sequence >= FILLING_TOKENS * layout.context] or sizes[-1:]
    sizes_to_try = sorted({full[-1], full[0]}, reverse=True)
    for recompute in RECOMPUTES:
        yield from ((recompute, size) for size in sizes_to_try)
    yield "full", 1


def _simplest(setup: TrainingSetup) -> tuple[int, ...]:
    layout = setup.layout
    return (layout.pipeline, layout.context, RECOMPUTES.index(setup.recompute), layout.tensor)
