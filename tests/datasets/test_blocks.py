from __future__ import annotations

import mmap
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.datasets import blocks
from tradewind.datasets.blocks import BLOCK_BYTES
from tradewind.records import Shard

PER_BLOCK = BLOCK_BYTES // 2


def shard(num_bytes: int, tokens: int) -> Shard:
    return Shard(key="a/b", sha256="0" * 64, num_bytes=num_bytes, tokens=tokens)


@pytest.mark.parametrize("count", [0, 1, PER_BLOCK - 1, PER_BLOCK, PER_BLOCK + 1, 3 * PER_BLOCK])
@pytest.mark.parametrize("kind", ["<u2", ">u2", "<u4"])
def test_shard_is_its_ids_then_a_checksum_of_each_block(count: int, kind: str) -> None:
    tokens = (np.arange(count) % 65_000).astype(kind)
    data, length = blocks.encode(tokens), count * tokens.dtype.itemsize
    assert np.array_equal(np.frombuffer(data, dtype=kind.replace(">", "<"), count=count), tokens)
    expected = [zlib.crc32(data[at : min(at + BLOCK_BYTES, length)]) for at in range(0, length, BLOCK_BYTES)]
    assert np.frombuffer(data[length:], dtype="<u4").tolist() == expected
    made = shard(len(data), count)
    assert blocks.token_bytes(made, tokens.dtype) == length
    assert blocks.has_checksums(made, tokens.dtype)


@pytest.mark.parametrize("count", [1, PER_BLOCK, 3 * PER_BLOCK + 1])
def test_shard_of_ids_alone_has_no_checksums(count: int) -> None:
    assert not blocks.has_checksums(shard(count * 2, count), np.dtype("<u2"))


def test_blocks_lie_one_after_the_other_and_the_last_is_shorter() -> None:
    length = 2 * BLOCK_BYTES + 10
    assert blocks.span(range(1), length) == (0, BLOCK_BYTES)
    assert blocks.span(range(1, 3), length) == (BLOCK_BYTES, length)
    assert blocks.span(range(2, 3), length) == (2 * BLOCK_BYTES, length)


@given(st.integers(0, 2 * BLOCK_BYTES + 99), st.integers(1, 255))
def test_a_byte_that_flips_changes_the_checksum_of_its_block_alone(at: int, bits: int) -> None:
    data = bytes(2 * BLOCK_BYTES + 100)
    flipped = bytearray(data)
    flipped[at] ^= bits
    before, after = blocks.checksums(data), blocks.checksums(bytes(flipped))
    assert [number for number in range(3) if before[number] != after[number]] == [at // BLOCK_BYTES]


def mapped(data: bytes) -> mmap.mmap:
    found = mmap.mmap(-1, len(data))
    found.write(data)
    return found


LENGTH = 2 * BLOCK_BYTES + 100
SHARD = blocks.encode(np.random.default_rng(0).integers(0, 65_000, LENGTH // 2).astype("<u2"))


@given(st.integers(0, len(SHARD) - 1), st.integers(1, 255))
def test_a_shard_with_a_byte_that_flipped_anywhere_is_not_whole(at: int, bits: int) -> None:
    flipped = bytearray(SHARD)
    flipped[at] ^= bits
    assert not blocks.is_whole(mapped(bytes(flipped)), LENGTH)


def test_a_shard_as_it_was_written_is_whole() -> None:
    assert blocks.is_whole(mapped(SHARD), LENGTH)


@pytest.mark.parametrize("start", [0, BLOCK_BYTES, LENGTH - 2, LENGTH])
def test_a_shard_whose_end_was_never_written_is_not_whole(start: int) -> None:
    """A file has its size, and zeros in place of its bytes, when the machine has crashed at the wrong moment."""
    assert not blocks.is_whole(mapped(SHARD[:start].ljust(len(SHARD), b"\0")), LENGTH)
