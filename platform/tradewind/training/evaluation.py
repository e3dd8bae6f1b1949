"""The loss on what is held out: every sample once, shared out among the workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tradewind.datasets import Samples
from tradewind.training import watchdog
from tradewind.training.batch import Pass, Passes
from tradewind.training.data import TrainingData


def heldout_loss(
    loss_of: Callable[[Pass], float], data: TrainingData, passes: Passes, *, reader: int, readers: int
) -> tuple[float, int]:
    """Summed loss in nats of this reader's part, and of how many tokens. All readers call the model equally often."""
    total, count = 0.0, 0
    for samples, some in heldout_batches(data):
        mine = some[len(some) * reader // readers : len(some) * (reader + 1) // readers]
        rows = samples.read(mine if mine else some[:1])
        one = passes.one(rows if mine else rows[:0], like=rows)
        total += loss_of(one)
        count += one.counted
        watchdog.beat(step=False)
    return total, count


def heldout_batches(data: TrainingData) -> Iterator[tuple[Samples, range]]:
    """Every held-out sample once, as numbers of samples, as many together as are trained on in a step."""
    at_once = data.batches.sequences
    for samples in data.heldout:
        for start in range(0, samples.size, at_once):
            yield samples, range(start, min(start + at_once, samples.size))
