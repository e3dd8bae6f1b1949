"""The loss on what is held out: every sample once, shared out among the workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.distributed as dist

from tradewind.datasets import Samples
from tradewind.training.batch import Pass, Passes, counted
from tradewind.training.data import TrainingData


@torch.no_grad()
def evaluate(
    loss_of: Callable[[Pass], float], data: TrainingData, passes: Passes, *, rank: int, world: int
) -> tuple[float, int]:
    """Summed loss in nats of this reader's part, and of how many tokens. All readers call the model equally often."""
    total, count = 0.0, 0
    for samples, some in heldout_batches(data):
        mine = some[len(some) * rank // world : len(some) * (rank + 1) // world]
        one = passes.one(samples.read(mine if mine else some[:1]))
        loss = loss_of(one)
        if mine:
            total += loss
            count += counted([one])
    return total, count


def mean_over(group: dist.ProcessGroup | None, total: float, count: int) -> float:
    """The mean loss of all readers, in nats a token."""
    summed = torch.tensor([total, count], dtype=torch.float64)
    dist.all_reduce(summed, group=group)
    return (summed[0] / summed[1].clamp(min=1)).item()


def heldout_batches(data: TrainingData) -> Iterator[tuple[Samples, range]]:
    """Every held-out sample once, as numbers of samples, as many together as are trained on in a step."""
    at_once = data.batches.sequences
    for samples in data.heldout:
        for start in range(0, samples.size, at_once):
            yield samples, range(start, min(start + at_once, samples.size))
