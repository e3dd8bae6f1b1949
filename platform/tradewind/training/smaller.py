"""The nearest spec that fits: what a person would have to change, the least first.

What leaves a run's result as it is comes before what does not: fewer sequences in one pass, then activations that are
computed again, then another number of workers; then shorter sequences, and fewer layers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from tradewind.errors import SpecError
from tradewind.families import ModelShape
from tradewind.specs import TrainSpec
from tradewind.training.job import layout_for

MOST_WORKERS = 4096
SHORTEST_TOKENS = 128
Changes = Mapping[str, object]


def nearest(
    spec: TrainSpec, shape: ModelShape, fits: Callable[[TrainSpec, ModelShape], bool], *, more_workers: bool
) -> Changes | None:
    """Values for `TrainSpec.with_values` with which a run fits; None where none of these do.

    With `more_workers` each has memory of its own, so more of them need less; else they share one machine's.
    """
    for changes in _ways(spec, more_workers=more_workers):
        changed = _changed(spec, shape, changes)
        if changed and fits(*changed):
            return changes
    return None


def _ways(spec: TrainSpec, *, more_workers: bool) -> Iterator[dict[str, Any]]:
    again = {} if spec.activations in ("selective", "full") else {"activations": "full"}
    one = {} if spec.batch.sequences_per_pass == 1 else {"batch__sequences_per_pass": 1}
    for count in _halves(spec.batch.sequences_per_pass or spec.batch.sequences):
        yield {"batch__sequences_per_pass": count}
    yield again
    yield {**one, **again}
    for workers in _more(spec.workers) if more_workers else range(spec.workers - 1, 0, -1):
        yield {"workers": workers}
        yield {"workers": workers, **one, **again}
    for tokens in _halves(spec.batch.tokens_per_sequence):
        if tokens >= SHORTEST_TOKENS:
            yield {**one, **again, "batch__tokens_per_sequence": tokens}
    if not spec.model.preset:
        for layers in range(spec.model.layers - 1, 0, -1):
            yield {**one, **again, "model__layers": layers}


def _changed(spec: TrainSpec, shape: ModelShape, changes: Changes) -> tuple[TrainSpec, ModelShape] | None:
    """None for nothing changed, and for what cannot be: a layout that does not divide, a batch that feeds too few."""
    try:
        changed = spec.with_values(**changes)
        tokens = changed.batch.tokens_per_sequence
        layers = changed.model.layers if "model__layers" in changes else shape.layers
        smaller = replace(shape, context=tokens, layers=layers)
        layout_for(changed, smaller, changed.workers)
    except SpecError:
        return None
    return (changed, smaller) if changes else None


def _halves(number: int) -> Iterator[int]:
    while number > 1:
        number //= 2
        yield number


def _more(workers: int) -> Iterator[int]:
    while workers * 2 <= MOST_WORKERS:
        workers *= 2
        yield workers
