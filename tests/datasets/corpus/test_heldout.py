from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.datasets.corpus.heldout import heldout_bound
from tradewind.errors import SpecError


def digests(count: int) -> list[bytes]:
    return [hashlib.sha256(str(number).encode()).digest()[:16] for number in range(count)]


def held(documents: list[bytes], fraction: float) -> list[bytes]:
    bound = heldout_bound(fraction, lowest=min(documents), highest=max(documents))
    assert len(bound) == 16
    return [one for one in documents if one < bound]


@given(st.integers(2, 500), st.floats(0.0001, 0.4999))
def test_no_split_is_empty(count: int, fraction: float) -> None:
    assert 0 < len(held(digests(count), fraction)) < count


def test_share_is_about_the_one_wanted() -> None:
    assert abs(len(held(digests(20_000), 0.1)) - 2000) < 200  # some five standard deviations


def test_other_documents_do_not_change_who_is_held_out() -> None:
    few, many = held(digests(1000), 0.1), held(digests(3000), 0.1)
    assert few == [one for one in many if one in set(digests(1000))]


def test_more_is_held_out_of_the_same_documents_by_a_larger_share() -> None:
    assert set(held(digests(1000), 0.05)) < set(held(digests(1000), 0.2))


def test_one_document_cannot_be_split() -> None:
    with pytest.raises(SpecError, match="one document cannot be split") as caught:
        held(digests(1), 0.1)
    assert caught.value.hint == "add more text, or raise max_bytes"
