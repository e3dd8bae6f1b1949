"""The proof that a run has read every sample exactly once, in the order that it should.

Each row that was read gives a pseudo-random word of 128 bits, made from its position in the stream, its source and its
number there. The words of a step are added up, so it does not matter who has read which row; then the sum enters a
hash chain: h(n+1) = SHA-256(h(n) ‖ rows ‖ sum), from h(0) = SHA-256(fingerprint of the order). Two runs have the same
chain at a step when both have read the same samples at each step until then; a sample that was left out, repeated or
swapped between steps changes it and everything behind it. It guards against mistakes and losses, not against somebody
who computes collisions on purpose: sums of 128-bit words can be forged.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import Self

import numpy as np

from tradewind.datasets.reading.batches import Batches, Draws
from tradewind.datasets.reading.order import Words, mix
from tradewind.errors import IntegrityError

_STATE = struct.Struct("<4sQ16s32s")
MAGIC = b"twc1"

_WORDS = np.array([0x9E3779B97F4A7C15, 0xD1B54A32D192ED03], dtype=np.uint64)
"""The golden ratio's and the second odd constant of Vigna's generators: any two distinct odd words would do."""


def digests(draws: Draws) -> Words:
    """The sum of the words of all rows in each step, [steps, 2]. Sums of parts add up, modulo 2⁶⁴ each."""
    position, source, sample = (a.astype(np.uint64) for a in (draws.position, draws.source, draws.sample))
    of_sample = mix(mix(sample + np.uint64(1)) ^ (source * _WORDS[1]))
    words = [mix(of_sample ^ mix(position * constant + constant)) for constant in _WORDS]
    return np.stack([word.sum(axis=1, dtype=np.uint64) for word in words], axis=1)


@dataclass
class Certificate:
    """Where a run is and what it has read until there. 60 bytes say it all."""

    fingerprint: bytes
    samples: int
    chain: bytes

    @classmethod
    def start(cls, batches: Batches) -> Self:
        return cls(batches.fingerprint, 0, hashlib.sha256(batches.fingerprint).digest())

    def add(self, rows: int, digest: Words) -> None:
        """Take in one step: how many rows all readers have read together, and the sum of their digests, [2]."""
        said = struct.pack("<Q2Q", rows, *(int(word) for word in digest))
        self.chain = hashlib.sha256(self.chain + said).digest()
        self.samples += rows

    def to_bytes(self) -> bytes:
        return _STATE.pack(MAGIC, self.samples, self.fingerprint, self.chain)

    @classmethod
    def from_bytes(cls, data: bytes, batches: Batches) -> Self:
        """Raises IntegrityError for other bytes, SpecError when they are of another order of samples."""
        if len(data) != _STATE.size or data[: len(MAGIC)] != MAGIC:
            raise IntegrityError("this is not the state of a reader", hint="use what state_dict has returned")
        _, samples, fingerprint, chain = _STATE.unpack(data)
        batches.check_same(fingerprint)
        return cls(fingerprint, samples, chain)
