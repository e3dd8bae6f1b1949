from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from tradewind.errors import ArchivedError, IntegrityError
from tradewind.records import StoredFile
from tradewind.storage import Store, open_store, put_content
from tradewind.storage.origin import StoreOrigin
from tradewind.storage.verification import verify_files


@pytest.fixture
def store() -> Store:
    return open_store(f"memory://{uuid.uuid4().hex}")


@pytest.fixture
def files(store: Store) -> list[StoredFile]:
    return [put_content(store, "data", f"tide {number}".encode()) for number in range(20)]


def test_whole_files_are_counted(store: Store, files: list[StoredFile]) -> None:
    origin = StoreOrigin(store)
    found = verify_files(origin, files, what="model pilot@1")
    num_bytes = sum(file.num_bytes for file in files)
    assert (found.num_files, found.num_bytes, found.damaged) == (20, num_bytes, ())
    assert sum(item.num_bytes for item in origin.meter.total()) == num_bytes


def test_each_damaged_file_is_named_with_what_is_wrong(store: Store, files: list[StoredFile]) -> None:
    store.put(files[3].key, b"x" * files[3].num_bytes)
    store.put(files[7].key, b"cut")
    store.put(files[8].key, b"longer than it was")
    store.delete(files[9].key)
    with pytest.raises(IntegrityError, match="model pilot@1: 4 of 20 files are damaged") as caught:
        verify_files(StoreOrigin(store), files, what="model pilot@1", or_raise=True)
    _, *lines = caught.value.message.splitlines()
    words = ("has checksum", "has 3 bytes instead of 6", "has more than 6 bytes", "has lost its file")
    for number, line, word in zip((3, 7, 8, 9), lines, words, strict=True):
        assert files[number].key in line
        assert word in line
    assert len(verify_files(StoreOrigin(store), files, what="model pilot@1").damaged) == 4


def test_single_damaged_file_is_an_error_of_its_own(store: Store, files: list[StoredFile]) -> None:
    store.delete(files[0].key)
    with pytest.raises(IntegrityError, match=r"^model pilot@1 has lost its file "):
        verify_files(StoreOrigin(store), files, what="model pilot@1", or_raise=True)


def test_what_was_known_before_is_named_too(store: Store, files: list[StoredFile]) -> None:
    known = IntegrityError("the listing is gone")
    with pytest.raises(IntegrityError, match="the listing is gone"):
        verify_files(StoreOrigin(store), files, what="it", damaged=[known], or_raise=True)


def test_archived_file_is_no_damage(store: Store, files: list[StoredFile], monkeypatch: pytest.MonkeyPatch) -> None:
    def archived(*_: object) -> None:
        raise ArchivedError("in an archive")

    monkeypatch.setattr(type(store), "stream", archived)
    with pytest.raises(ArchivedError, match="dataset tides@1 is archived") as caught:
        verify_files(StoreOrigin(store), files, what="dataset tides@1")
    assert caught.value.hint == "bring it back first: tw datasets restore tides@1"


def test_part_of_a_file_that_is_gone_is_lost(tmp_path: Path) -> None:
    origin = StoreOrigin(open_store(str(tmp_path)))
    file = StoredFile(key="data/gone", sha256="0" * 64, num_bytes=9)
    with pytest.raises(IntegrityError, match=r"^it has lost its file data/gone"):
        origin.get_ranges(file, [(0, 3)], check=lambda _: True, what="it")
