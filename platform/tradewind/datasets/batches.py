"""Global batches of token sequences, the same whoever reads them.

Step s takes the positions s·B … (s+1)·B-1 of the shuffled samples, and reader r of n takes the r-th part of them. So
the state of a run is one integer, its step; and any number of readers sees the same global batches.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tradewind.datasets.dataset import Dataset
from tradewind.datasets.order import Indices, Permutation
from tradewind.errors import SpecError


class Batches:
    """Samples of `tokens_per_sequence` + 1 tokens (inputs and the same shifted by one), shuffled anew each epoch."""

    def __init__(self, dataset: Dataset, split: str, *, sequences: int, tokens_per_sequence: int, seed: int) -> None:
        self.sequences = sequences
        self._seed = seed
        self._length = tokens_per_sequence
        self._shards = list(dataset.shards(split))
        counts = [max(0, (len(shard) - 1) // tokens_per_sequence) for shard in self._shards]
        self._ends = np.cumsum(counts)
        self.size = int(self._ends[-1]) if counts else 0
        if self.size == 0:
            raise SpecError(
                f"no shard of {dataset.reference} ({split}) holds {tokens_per_sequence + 1} tokens",
                hint="choose a smaller tokens_per_sequence, or more text",
            )

    def at(self, step: int, *, rank: int = 0, world: int = 1) -> NDArray[np.int64]:
        """The part of one reader in the batch of a step: [sequences of this reader, tokens_per_sequence + 1]."""
        first = step * self.sequences
        start = first + self.sequences * rank // world
        end = first + self.sequences * (rank + 1) // world
        return self.samples(self._shuffled(np.arange(start, end)))

    def samples(self, indices: Indices) -> NDArray[np.int64]:
        """Samples by their number in the dataset, unshuffled: [len(indices), tokens_per_sequence + 1]."""
        rows = np.empty((len(indices), self._length + 1), dtype=np.int64)
        for row, index in enumerate(indices):
            shard = int(np.searchsorted(self._ends, index, side="right"))
            within = int(index) - int(self._ends[shard - 1] if shard else 0)
            start = within * self._length
            rows[row] = self._shards[shard][start : start + self._length + 1]
        return rows

    def _shuffled(self, positions: Indices) -> Indices:
        epochs, places = np.divmod(positions, self.size)
        indices = np.empty_like(positions)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            indices[here] = Permutation(self.size, seed=self._seed, epoch=int(epoch))(places[here])
        return indices
