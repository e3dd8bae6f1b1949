"""Documents that come again, found over any number of groups in bounded memory.

Reading and finding are two passes, because whether a document is the first of its kind is only known once all groups
before it are read; and then no group waits for another. The first pass leaves a digest of 16 bytes for each document,
sorted, in a file for each group. Digests are evenly spread, so a slice of all these files between two first bytes holds
everything that can be equal, and slices are looked at one after the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from tradewind.datasets.corpus.documents import DIGEST_BYTES
from tradewind.datasets.corpus.scratch import READERS, Scratch

AT_ONCE = 4_000_000
"""Documents compared at once: some 200 MB."""
BUCKETS = 256
HEADER_BYTES = 4 * BUCKETS
ROW_BYTES = 4

Rows = NDArray[np.uint32]


def fingerprint(digests: Sequence[bytes]) -> bytes:
    """The file of a group: how many digests begin with each byte, the digests in their order, the row of each."""
    words = np.frombuffer(b"".join(digests), dtype=">u8").reshape(-1, 2)
    order = np.lexsort((words[:, 1], words[:, 0]))
    counts = np.bincount(words[:, 0] >> np.uint64(56), minlength=BUCKETS).astype("<u4")
    return counts.tobytes() + words[order].tobytes() + order.astype("<u4").tobytes()


def find_duplicates(scratch: Scratch, files: Sequence[str]) -> list[Rows]:
    """For each file of a group the rows, ascending, that an earlier row or group has already."""
    found: list[list[Rows]] = [[] for _ in files]
    with ThreadPoolExecutor(READERS) as pool:
        headers = list(pool.map(lambda file: scratch.read_ranges(file, [(0, HEADER_BYTES)])[0], files))
        counts = np.frombuffer(b"".join(headers), dtype="<u4").reshape(-1, BUCKETS).astype(np.int64)
        for first, last in _spans(counts.sum(axis=0)):
            slices = list(pool.map(partial(_slice, scratch, first, last), files, counts))
            for number, rows in _repeated(slices):
                found[number].append(rows)
    return [np.sort(np.concatenate(rows)).astype("<u4") if rows else np.empty(0, dtype="<u4") for rows in found]


@dataclass(frozen=True)
class _Slice:
    words: NDArray[np.uint64]
    rows: Rows


def _spans(totals: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Runs of first bytes with few enough documents."""
    start, held = 0, 0
    for bucket, total in enumerate(totals):
        if held and held + int(total) > AT_ONCE:
            yield start, bucket
            start, held = bucket, 0
        held += int(total)
    yield start, len(totals)


def _slice(scratch: Scratch, first: int, last: int, file: str, counts: NDArray[np.int64]) -> _Slice:
    ends = np.concatenate([[0], np.cumsum(counts)])
    start, end, total = int(ends[first]), int(ends[last]), int(ends[-1])
    if start == end:
        return _Slice(np.empty((0, 2), dtype=np.uint64), np.empty(0, dtype=np.uint32))
    rows_at = HEADER_BYTES + total * DIGEST_BYTES
    digests, rows = scratch.read_ranges(
        file,
        [
            (HEADER_BYTES + start * DIGEST_BYTES, HEADER_BYTES + end * DIGEST_BYTES),
            (rows_at + start * ROW_BYTES, rows_at + end * ROW_BYTES),
        ],
    )
    words = np.frombuffer(digests, dtype=">u8").reshape(-1, 2).astype(np.uint64)
    return _Slice(words, np.frombuffer(rows, dtype="<u4"))


def _repeated(slices: Sequence[_Slice]) -> Iterator[tuple[int, Rows]]:
    """Group and rows of what is not the first of its kind. Sorting is stable, so the first is the earliest."""
    words = np.concatenate([part.words for part in slices])
    rows = np.concatenate([part.rows for part in slices])
    groups = np.repeat(np.arange(len(slices)), [len(part.rows) for part in slices])
    order = np.lexsort((words[:, 1], words[:, 0]))
    again = (words[order[1:]] == words[order[:-1]]).all(axis=1)
    extra = order[1:][again]
    for group in np.unique(groups[extra]):
        yield int(group), rows[extra[groups[extra] == group]]
