"""The tokens that every peer reads: made up, with a mark in each sequence by which what was read is checked.

A sequence's id stands in its first two tokens and a hash of the id in its last one, so lost, repeated and damaged
sequences are seen without a look at the rest. Ids count up through the shards.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SEQUENCES = 51_200
LENGTH = 2048
BATCH = 32
PER_SHARD = 4096
"""Sequences of a shard: 16 MiB of two-byte tokens."""

VOCABULARY = 50_257
TOKENS = SEQUENCES * LENGTH
BATCHES = SEQUENCES // BATCH

Tokens = NDArray[np.uint16]
Ids = NDArray[np.int64]


def make_tokens(file: Path) -> None:
    """Write them once. Frequent tokens are frequent as in text (Zipf), so that Parquet compresses them as it would."""
    if file.exists():
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    random = np.random.default_rng(0)
    with part.open("wb") as out:
        for first in range(0, SEQUENCES, PER_SHARD):
            out.write(_sequences(random, first, min(SEQUENCES, first + PER_SHARD)).tobytes())
    part.rename(file)


def open_tokens(file: Path) -> Tokens:
    """All sequences as one array, not in memory."""
    return np.memmap(file, np.uint16, mode="r", shape=(SEQUENCES, LENGTH))


def shards(tokens: Tokens) -> list[Tokens]:
    return [tokens[first : first + PER_SHARD] for first in range(0, len(tokens), PER_SHARD)]


def last_token(ids: Ids) -> Ids:
    return (ids * 40_503 + 1) % VOCABULARY


def _sequences(random: np.random.Generator, first: int, end: int) -> Tokens:
    ids = np.arange(first, end)
    tokens = (random.zipf(1.3, (end - first, LENGTH)) % VOCABULARY).astype(np.uint16)
    tokens[:, 0], tokens[:, 1], tokens[:, -1] = ids & 0xFFFF, ids >> 16, last_token(ids)
    return tokens
