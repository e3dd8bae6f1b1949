"""The bytes of a token shard: raw little-endian ids, then a CRC-32 of each block of them.

The ids come first, so a shard can be memory-mapped as it is. The checksums behind them let a few blocks be read and
checked without the rest: that is how a first batch comes before its shards. They are CRC-32 (zlib's), little-endian,
one for each `BLOCK_BYTES`; the SHA-256 in the manifest covers ids and checksums alike.
"""

from __future__ import annotations

import mmap
import zlib

import numpy as np
from numpy.typing import NDArray

from tradewind.records import Shard

Tokens = NDArray[np.unsignedinteger]

BLOCK_BYTES = 128 * 1024
CHECKSUM_BYTES = 4


def encode(tokens: Tokens) -> bytes:
    """The bytes of a shard of these ids."""
    data = tokens.astype(tokens.dtype.newbyteorder("<"), copy=False).tobytes()
    return data + np.array(checksums(data), dtype="<u4").tobytes()


def token_bytes(shard: Shard, dtype: np.dtype[np.unsignedinteger]) -> int:
    """How many bytes of a shard are ids."""
    return shard.tokens * dtype.itemsize


def has_checksums(shard: Shard, dtype: np.dtype[np.unsignedinteger]) -> bool:
    """Shards that were written before there were blocks have none."""
    length = token_bytes(shard, dtype)
    return shard.num_bytes == length + -(-length // BLOCK_BYTES) * CHECKSUM_BYTES


def span(blocks: range, length: int) -> tuple[int, int]:
    """Where some successive blocks lie among `length` bytes of ids."""
    return blocks.start * BLOCK_BYTES, min(length, blocks.stop * BLOCK_BYTES)


def checksums(data: bytes | memoryview) -> list[int]:
    """The checksum of each block of `data`, which starts with one."""
    view = memoryview(data)
    return [zlib.crc32(view[start : start + BLOCK_BYTES]) for start in range(0, len(data), BLOCK_BYTES)]


def is_whole(data: mmap.mmap, length: int) -> bool:
    """Whether a shard with `length` bytes of ids has the checksums that stand behind them."""
    with memoryview(data) as view:
        expected: list[int] = np.frombuffer(view[length:], dtype="<u4").tolist()
        return checksums(view[:length]) == expected
