from __future__ import annotations

import hashlib
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.datasets.corpus import deduplication
from tradewind.datasets.corpus.deduplication import find_duplicates, fingerprint
from tradewind.datasets.corpus.scratch import Scratch
from tradewind.errors import ConflictError
from tradewind.storage import open_store


def scratch() -> Scratch:
    return Scratch(open_store(f"memory://{uuid.uuid4().hex}"), "building/x")


def digest(word: int) -> bytes:
    return hashlib.sha256(str(word).encode()).digest()[:16]


def dropped(groups: list[list[bytes]]) -> list[list[int]]:
    place = scratch()
    for number, group in enumerate(groups):
        place.write(f"{number}", fingerprint(group))
    return [rows.tolist() for rows in find_duplicates(place, [f"{number}" for number in range(len(groups))])]


def expected(groups: list[list[bytes]]) -> list[list[int]]:
    seen: set[bytes] = set()
    found: list[list[int]] = []
    for group in groups:
        found.append([])
        for row, one in enumerate(group):
            if one in seen:
                found[-1].append(row)
            seen.add(one)
    return found


words = st.lists(st.lists(st.integers(0, 40), max_size=30), min_size=1, max_size=6)


@pytest.mark.parametrize("at_once", [1, 7, 10**6])
@given(groups=words)
def test_first_of_its_kind_stays_however_little_is_compared_at_once(at_once: int, groups: list[list[int]]) -> None:
    digests = [[digest(word) for word in group] for group in groups]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deduplication, "AT_ONCE", at_once)
        assert dropped(digests) == expected(digests)


def test_digests_that_differ_in_one_half_are_different() -> None:
    first, second = bytes(8) + b"12345678", bytes(8) + b"12345679"
    assert dropped([[first, second], [b"\xff" * 8 + first[8:], first]]) == [[], [1]]


def test_digests_that_another_run_has_cleared_are_a_conflict() -> None:
    place = scratch()
    with pytest.raises(ConflictError, match="was cleared while it was used"):
        find_duplicates(place, ["0"])
