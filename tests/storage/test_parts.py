"""Large objects are read in parts, several at a time, and still are one stream of one object."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from tradewind.errors import StorageError
from tradewind.storage import Store, object_store, open_store
from tradewind.testing import start_gcs

KIB = 1024


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setattr(object_store, "PART", 64 * KIB)
    monkeypatch.setattr(object_store, "IN_PARTS_FROM", 256 * KIB)
    with start_gcs("harbour") as server:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.endpoint)
        yield open_store("gs://harbour/ships")


@pytest.mark.parametrize("num_bytes", [256 * KIB, 256 * KIB + 1, 1000 * KIB - 7, 255 * KIB, 0])
def test_parts_are_given_in_their_order(store: Store, num_bytes: int) -> None:
    data = os.urandom(num_bytes)
    store.put("large", data)
    assert b"".join(store.stream("large")) == data


def test_parts_of_another_object_are_never_mixed_in(store: Store) -> None:
    store.put("large", b"a" * 1000 * KIB)
    pieces = store.stream("large")
    assert set(next(pieces)) == {ord("a")}
    store.put("large", b"b" * 1000 * KIB)
    with pytest.raises(StorageError, match="was replaced while it was read"):
        assert all(set(piece) == {ord("a")} for piece in pieces)


def test_stream_that_is_left_early_leaves_no_thread(store: Store) -> None:
    store.put("large", os.urandom(1000 * KIB))
    pieces = store.stream("large")
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("tradewind-parts")]
