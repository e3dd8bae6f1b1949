from __future__ import annotations

import uuid

import pytest

from tradewind.errors import StorageError
from tradewind.storage import Store, open_store
from tradewind.storage.removal import delete_all


@pytest.fixture
def store() -> Store:
    found = open_store(f"memory://{uuid.uuid4().hex}")
    for number in range(40):
        found.put(f"data/{number:02d}", b"tide")
    return found


def keys(store: Store) -> list[str]:
    return sorted(item.key for item in store.list(""))


def test_removes_what_is_named_and_nothing_else(store: Store) -> None:
    doomed = keys(store)[5:]
    assert delete_all(store, doomed) == set(doomed)
    assert keys(store) == ["data/00", "data/01", "data/02", "data/03", "data/04"]
    assert delete_all(store, []) == set()


def test_what_must_stay_after_all_stays_and_is_not_counted(store: Store) -> None:
    gone = delete_all(store, keys(store), only_if=lambda key: key.endswith("7"))
    assert gone == {"data/07", "data/17", "data/27", "data/37"}
    assert len(keys(store)) == 36


def test_error_is_raised(store: Store) -> None:
    def fail(key: str) -> bool:
        raise StorageError("the store is down")

    with pytest.raises(StorageError, match="is down"):
        delete_all(store, keys(store), only_if=fail)
    assert len(keys(store)) == 40
