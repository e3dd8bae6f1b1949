"""The loss that counting gives: a bigram model of the training tokens, to hold a trained model's loss against."""

from __future__ import annotations

import numpy as np

from tradewind.datasets import Dataset, Samples
from tradewind.datasets.reading.order import Indices
from tradewind.errors import SpecError

LARGEST_VOCABULARY = 8192
PAIRS_AT_ONCE = 2**22


class Bigram:
    """Pair counts with Witten-Bell smoothing (Witten and Bell 1991; Chen and Goodman 1998, section 2.5).

    p(w | h) = (count(h, w) + kinds(h) · p(w)) / (count(h) + kinds(h)), where kinds(h) is how many different tokens
    follow h, and p(w) is the token's share with one added to every count.
    """

    def __init__(self, vocabulary: int) -> None:
        if vocabulary > LARGEST_VOCABULARY:
            raise SpecError(f"a bigram table for {vocabulary} tokens is too large", hint=f"up to {LARGEST_VOCABULARY}")
        self._pairs = np.zeros((vocabulary, vocabulary), dtype=np.int64)

    def count(self, tokens: Indices) -> None:
        """Add the pairs of neighbours in a stream of token ids."""
        size = len(self._pairs)
        codes = tokens[:-1].astype(np.int64) * size + tokens[1:]
        self._pairs += np.bincount(codes, minlength=size * size).reshape(size, size)

    def loss(self, tokens: Indices) -> float:
        """Mean loss in nats of the last T tokens of each row of [rows, T + 1], each given the one before it."""
        before, after = tokens[:, :-1], tokens[:, 1:]
        follow = self._pairs.sum(axis=1)
        kinds = (self._pairs > 0).sum(axis=1)
        singles = self._pairs.sum(axis=0) + 1
        backed_off = (singles / singles.sum())[after]
        seen = kinds[before] > 0
        smoothed = (self._pairs[before, after] + kinds[before] * backed_off) / np.maximum(1, (follow + kinds)[before])
        return float(-np.log(np.where(seen, smoothed, backed_off)).mean())


def bigram_loss(dataset: Dataset, *, tokens_per_sequence: int) -> float | None:
    """The loss of a bigram counted on the whole training split, over the same held-out samples that a run is judged by.

    None when the vocabulary is too large for a table.
    """
    vocabulary = dataset.tokenizer_file.vocabulary
    if vocabulary > LARGEST_VOCABULARY:
        return None
    bigram = Bigram(vocabulary)
    for shard in dataset.shards("train"):
        for start in range(0, len(shard), PAIRS_AT_ONCE):
            bigram.count(shard[start : start + PAIRS_AT_ONCE + 1].astype(np.int64))
    heldout = Samples(dataset, "heldout", width=tokens_per_sequence + 1)
    return bigram.loss(heldout.read(np.arange(heldout.size)).astype(np.int64))
