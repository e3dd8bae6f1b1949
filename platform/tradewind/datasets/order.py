"""The order in which samples are read: a keyed permutation that needs no memory and no state but a position.

A balanced Feistel network over the smallest even-bit domain that holds `size`, with cycle walking for the values
outside it (Black and Rogaway 2002, "Ciphers with Arbitrary Finite Domains"). Any position is computed by itself, so the
order is the same for every number of readers, and a run resumes anywhere at once.
"""

from __future__ import annotations

import hashlib
from typing import cast

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]
_Words = NDArray[np.uint64]

ROUNDS = 4


class Permutation:
    """A bijection of 0 … size-1, chosen by `seed` and `epoch`."""

    def __init__(self, size: int, *, seed: int, epoch: int) -> None:
        if size < 1:
            raise ValueError(f"a permutation needs a size of at least 1, not {size}")
        self.size = size
        half_bits = max(1, ((size - 1).bit_length() + 1) // 2)
        self._shift = np.uint64(half_bits)
        self._mask = np.uint64((1 << half_bits) - 1)
        digest = hashlib.sha256(f"{seed}:{epoch}:{size}".encode()).digest()
        self._keys = np.frombuffer(digest, dtype="<u8")[:ROUNDS]

    def __call__(self, positions: Indices) -> Indices:
        """The values at some positions, each in 0 … size-1."""
        values = self._cipher(positions.astype(np.uint64))
        while (outside := values >= self.size).any():
            values[outside] = self._cipher(values[outside])
        return values.astype(np.int64)

    def _cipher(self, values: _Words) -> _Words:
        left, right = values >> self._shift, values & self._mask
        for key in self._keys:
            left, right = right, left ^ (_mix(right ^ key) & self._mask)
        return cast(_Words, (left << self._shift) | right)


def _mix(words: _Words) -> _Words:
    """The finalizer of SplitMix64 (Steele, Lea and Flood 2014): every input bit changes about half of the output's."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
