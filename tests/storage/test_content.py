from __future__ import annotations

import hashlib
import os
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tradewind.errors import CapacityError, IntegrityError, StorageError
from tradewind.records import StoredFile
from tradewind.storage import Store, fetch_content, get_content, open_store, put_content
from tradewind.storage.cache import Cache, default_cache

DATA = b"the same bytes"


@pytest.fixture
def folder(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


@pytest.fixture
def remote() -> Store:
    return open_store(f"memory://{uuid.uuid4().hex}")


def kept(folder: Path) -> Cache:
    return Cache(folder, 10**9)


def on_disk(store: Store, file: StoredFile) -> Path:
    path = store.local_path(file.key)
    assert path is not None
    return path


def damage(store: Store, file: StoredFile, how: str) -> None:
    if how == "missing":
        store.delete(file.key)
    else:
        store.put(file.key, {"altered": DATA[:-1] + b"S", "truncated": DATA[:-3], "empty": b""}[how])


def test_key_and_record_tell_what_the_bytes_are(folder: Store) -> None:
    file = put_content(folder, "shards", DATA, suffix=".bin")
    digest = hashlib.sha256(DATA).hexdigest()
    assert file == StoredFile(key=f"shards/{digest[:2]}/{digest}.bin", sha256=digest, num_bytes=len(DATA))
    assert get_content(folder, file, what="dataset") == DATA


def test_same_bytes_are_stored_once(folder: Store) -> None:
    first = put_content(folder, "shards", DATA)
    written = on_disk(folder, first).stat()
    assert put_content(folder, "shards", DATA) == first
    assert on_disk(folder, first).stat().st_ino == written.st_ino
    assert len(list(folder.list("shards"))) == 1


def test_racing_writers_of_the_same_bytes_agree(folder: Store) -> None:
    with ThreadPoolExecutor(8) as pool:
        files = set(pool.map(lambda _: put_content(folder, "shards", DATA), range(16)))
    assert len(files) == len(list(folder.list("shards"))) == 1
    assert get_content(folder, files.pop(), what="dataset") == DATA


@pytest.mark.parametrize("how", ["altered", "truncated", "empty", "missing"])
def test_putting_the_bytes_again_mends_a_damaged_file(folder: Store, how: str) -> None:
    file = put_content(folder, "shards", DATA)
    damage(folder, file, how)
    assert put_content(folder, "shards", DATA) == file
    assert get_content(folder, file, what="dataset") == DATA


@pytest.mark.parametrize("kind", ["folder", "remote"])
@pytest.mark.parametrize(
    ("how", "complaint"),
    [
        ("altered", "dataset stdlib@1: the file {key} has checksum "),
        ("truncated", "dataset stdlib@1: the file {key} has 11 bytes instead of 14"),
        ("empty", "dataset stdlib@1: the file {key} has 0 bytes instead of 14"),
        ("missing", "dataset stdlib@1 has lost its file {key}"),
    ],
)
def test_damaged_file_is_refused_by_name(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, how: str, complaint: str
) -> None:
    store: Store = request.getfixturevalue(kind)
    file = put_content(store, "shards", DATA)
    if kind == "folder":
        assert fetch_content(store, file, what="dataset stdlib@1").read_bytes() == DATA
    damage(store, file, how)
    for take in (get_content, lambda *args, **named: fetch_content(*args, **named, cache=kept(tmp_path / "cache"))):
        with pytest.raises(IntegrityError) as caught:
            take(store, file, what="dataset stdlib@1")
        assert caught.value.message.startswith(complaint.format(key=file.key))
        assert caught.value.hint is not None
    assert not (tmp_path / "cache" / file.sha256[:2] / file.sha256).exists()


def test_byte_that_flips_in_place_at_once_is_seen(folder: Store) -> None:
    file = put_content(folder, "shards", DATA)
    path = fetch_content(folder, file, what="dataset")
    with path.open("r+b") as stream:
        stream.write(b"T")
    with pytest.raises(IntegrityError, match="checksum"):
        fetch_content(folder, file, what="dataset")


def test_fresh_file_is_read_each_time(folder: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its time stamps are only as fine as the kernel's tick, so that another change might leave them as they are."""
    file = put_content(folder, "shards", DATA)
    reads: list[Path] = []

    def read(path: Path) -> str:
        reads.append(path)
        return file.sha256

    monkeypatch.setattr("tradewind.storage.integrity.hash_file", read)
    for _ in range(3):
        fetch_content(folder, file, what="dataset")
    assert len(reads) == 3


def test_byte_that_flipped_behind_an_old_time_stamp_is_seen(folder: Store) -> None:
    file = put_content(folder, "shards", DATA)
    path = fetch_content(folder, file, what="dataset")
    before = path.stat()
    path.write_bytes(b"T" + DATA[1:])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(IntegrityError, match="checksum"):
        fetch_content(folder, file, what="dataset")


def test_verified_file_is_not_read_again(folder: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tradewind.storage.integrity.RECENT_NS", -(10**12))
    file = put_content(folder, "shards", DATA)
    path = fetch_content(folder, file, what="dataset")
    monkeypatch.setattr("tradewind.storage.integrity.hash_file", lambda path: pytest.fail(f"{path} is read again"))
    assert fetch_content(folder, file, what="dataset") == path


def test_verified_file_is_not_taken_for_what_another_record_says(
    folder: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tradewind.storage.integrity.RECENT_NS", -(10**12))
    file = put_content(folder, "shards", DATA)
    fetch_content(folder, file, what="dataset")
    with pytest.raises(IntegrityError, match="checksum"):
        fetch_content(folder, file.model_copy(update={"sha256": "0" * 64}), what="dataset")


def test_file_in_a_folder_is_used_where_it_is(folder: Store, tmp_path: Path) -> None:
    file = put_content(folder, "shards", DATA)
    assert fetch_content(folder, file, what="dataset", cache=kept(tmp_path / "cache")) == on_disk(folder, file)
    assert not (tmp_path / "cache").exists()


def test_remote_file_is_fetched_once(remote: Store, tmp_path: Path) -> None:
    file = put_content(remote, "shards", DATA)
    path = fetch_content(remote, file, what="dataset", cache=kept(tmp_path))
    remote.delete(file.key)
    assert fetch_content(remote, file, what="dataset", cache=kept(tmp_path)) == path
    assert path.read_bytes() == DATA


@pytest.mark.parametrize("rest", [b"", DATA[:5], DATA[:-1] + b"S"], ids=["emptied", "truncated", "altered"])
def test_file_that_was_damaged_in_the_cache_is_fetched_again(remote: Store, tmp_path: Path, rest: bytes) -> None:
    file = put_content(remote, "shards", DATA)
    path = fetch_content(remote, file, what="dataset", cache=kept(tmp_path))
    path.write_bytes(rest)
    assert fetch_content(remote, file, what="dataset", cache=kept(tmp_path)).read_bytes() == DATA


def test_many_fetchers_share_a_cache(remote: Store, tmp_path: Path) -> None:
    file = put_content(remote, "shards", DATA)
    with ThreadPoolExecutor(8) as pool:
        paths = set(pool.map(lambda _: fetch_content(remote, file, what="dataset", cache=kept(tmp_path)), range(32)))
    assert [path.read_bytes() for path in paths] == [DATA]
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == list(paths)


def test_leftovers_of_a_crashed_fetch_are_harmless(remote: Store, tmp_path: Path) -> None:
    file = put_content(remote, "shards", DATA)
    leftover = tmp_path / file.sha256[:2] / "tmpabc" / file.sha256
    leftover.parent.mkdir(parents=True)
    leftover.write_bytes(DATA[:3])
    assert fetch_content(remote, file, what="dataset", cache=kept(tmp_path)).read_bytes() == DATA


def test_cache_that_cannot_be_written_is_a_storage_error(remote: Store, tmp_path: Path) -> None:
    file = put_content(remote, "shards", DATA)
    (tmp_path / "cache").write_text("a file, not a folder")
    with pytest.raises(StorageError) as caught:
        fetch_content(remote, file, what="dataset", cache=kept(tmp_path / "cache"))
    assert "TRADEWIND_CACHE" in str(caught.value.hint)


def test_failed_write_leaves_nothing_in_the_cache(
    remote: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    file = put_content(remote, "shards", DATA)
    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(CapacityError, match="no room left"):
        fetch_content(remote, file, what="dataset", cache=kept(tmp_path))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_cache_is_chosen_by_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRADEWIND_CACHE", str(tmp_path / "mine"))
    assert default_cache().folder == tmp_path / "mine"
    monkeypatch.delenv("TRADEWIND_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_cache().folder == tmp_path / "xdg" / "tradewind" / "objects"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache().folder == tmp_path / ".cache" / "tradewind" / "objects"
