from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.storage.origins import SlowStore, make_files, origin_of, use, wrong_names
from tradewind.errors import CapacityError, IntegrityError, StorageError
from tradewind.storage import cache as cache_module
from tradewind.storage.cache import Cache
from tradewind.storage.origin import StoreOrigin

NUM_BYTES = 3 * 8192
NOBODY = 65534


class Harbour:
    """An origin with some files, and a cache of this machine."""

    def __init__(self, folder: Path, count: int = 6) -> None:
        self.store = SlowStore(folder / "origin")
        self.files = make_files(self.store.folder, count)
        self.origin: StoreOrigin = origin_of(self.store)
        self.folder = folder / "cache"

    def cache(self, *, files: float = 1000) -> Cache:
        return Cache(self.folder, int(files * NUM_BYTES))

    def use(self, cache: Cache, *numbers: int) -> None:
        for number in numbers:
            use(cache, self.origin, self.files[number])

    @property
    def here(self) -> set[int]:
        """Which files are in the cache under their final names."""
        names = {path.name for path in self.folder.glob("??/*")}
        return {number for number, file in enumerate(self.files) if file.sha256 in names}

    @property
    def everything(self) -> list[Path]:
        return [path for path in self.folder.rglob("*") if path.is_file()]

    def path(self, number: int) -> Path:
        digest = self.files[number].sha256
        return self.folder / digest[:2] / digest


@pytest.fixture
def harbour(tmp_path: Path) -> Harbour:
    return Harbour(tmp_path)


def run(program: str, folder: Path, count: int, **options: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.storage.origins", program, str(folder), str(count)]
    command += [f"{name}={value}" for name, value in options.items()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return {**found, "stderr": done.stderr}


def test_file_is_downloaded_once_and_then_read_from_here(harbour: Harbour) -> None:
    harbour.use(harbour.cache(), 0, 0)
    harbour.use(harbour.cache(), 0, 1)
    assert harbour.store.asked == {"0": 1, "1": 1}
    assert harbour.here == {0, 1}
    assert len(harbour.everything) == 2


def test_eight_processes_of_a_node_download_each_file_once(tmp_path: Path) -> None:
    found = run("together", tmp_path, 8)
    assert found["ended"] == [0] * 8, found["stderr"]
    assert SlowStore(tmp_path).asked == {str(number): 1 for number in range(12)}
    assert not wrong_names(tmp_path / "cache")


def test_threads_of_a_process_download_each_file_once(harbour: Harbour) -> None:
    cache = harbour.cache()
    slow = origin_of(SlowStore(harbour.store.folder, pause_s=0.002))
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda number: use(cache, slow, harbour.files[number % 6]), range(96)))
    assert set(harbour.store.asked.values()) == {1}


@pytest.mark.parametrize("files", [0, 1, 3])
def test_eight_processes_read_more_than_the_cache_holds(tmp_path: Path, files: int) -> None:
    found = run("together", tmp_path, 8, max_bytes=files * NUM_BYTES, rounds=2)
    assert found["ended"] == [0] * 8, found["stderr"]
    assert not wrong_names(tmp_path / "cache")
    assert not list(tmp_path.glob("cache/??/*.part"))


def test_least_recently_used_files_go_first(harbour: Harbour) -> None:
    cache = harbour.cache(files=3)
    harbour.use(cache, 0, 1, 2, 0)
    harbour.use(cache, 3)
    assert harbour.here == {0, 2, 3}
    harbour.use(cache, 4)
    assert harbour.here == {0, 3, 4}


def test_use_by_another_process_counts(harbour: Harbour) -> None:
    harbour.use(harbour.cache(files=2), 0, 1)
    harbour.use(harbour.cache(files=2), 0)
    harbour.use(harbour.cache(files=2), 2)
    assert harbour.here == {0, 2}


def test_cache_never_grows_over_its_bound(harbour: Harbour) -> None:
    cache = harbour.cache(files=2.5)
    for number in (0, 1, 2, 3, 4, 5, 0, 2, 4, 1, 3, 5):
        harbour.use(cache, number)
        assert sum(path.stat().st_size for path in harbour.everything) <= cache.max_bytes


def test_pinned_files_stay_and_others_go(harbour: Harbour) -> None:
    cache = harbour.cache(files=2)
    with cache.open(harbour.origin, harbour.files[0], what="dataset"):
        for number in range(1, 6):
            harbour.use(cache, number)
            assert harbour.here == {0, number}
        harbour.use(harbour.cache(files=0), 1)  # another process, whose bound is smaller
        assert 0 in harbour.here
    harbour.use(cache, 2, 3)
    assert harbour.here == {2, 3}


def test_pins_alone_may_be_larger_than_the_cache(harbour: Harbour) -> None:
    cache = harbour.cache(files=1)
    with contextlib.ExitStack() as stack:
        for file in harbour.files:
            stack.enter_context(cache.open(harbour.origin, file, what="dataset"))
        assert harbour.here == set(range(6))
    (harbour.path(0)).unlink()
    harbour.use(cache, 0)
    assert harbour.here == {0}


def test_closing_unpins_and_the_mapped_bytes_stay_readable(harbour: Harbour) -> None:
    cache = harbour.cache(files=1)
    with cache.open(harbour.origin, harbour.files[0], what="dataset") as found:
        mapped = found.map()
    harbour.use(cache, 1)
    assert harbour.here == {1}
    assert hashlib.sha256(mapped).hexdigest() == harbour.files[0].sha256


def test_cache_of_few_files_looks_for_room_each_time_and_one_of_many_does_not(
    harbour: Harbour, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[Path] = []
    listed = cache_module._files

    def look(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
        looks.append(folder)
        return listed(folder)

    monkeypatch.setattr(cache_module, "_files", look)
    harbour.use(harbour.cache(files=2), *range(6))
    assert len(looks) == 6
    shutil.rmtree(harbour.folder)
    looks.clear()
    harbour.use(harbour.cache(files=1000), *range(6))
    assert len(looks) == 1


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(path.read_bytes() + b"x"),
        lambda path: path.write_bytes(b"x" + path.read_bytes()[1:]),
        lambda path: (path.unlink(), path.write_bytes(bytes(NUM_BYTES))),
    ],
    ids=["emptied", "cut", "grown", "altered", "replaced"],
)
@pytest.mark.parametrize("is_same_process", [True, False])
def test_file_that_was_damaged_in_the_cache_is_fetched_again(
    harbour: Harbour, damage: Callable[[Path], object], is_same_process: bool
) -> None:
    cache = harbour.cache()
    harbour.use(cache, 0)
    damage(harbour.path(0))
    harbour.use(cache if is_same_process else harbour.cache(), 0)
    assert harbour.store.asked["0"] == 2


def test_file_that_was_replaced_while_it_was_checked_is_not_taken_for_the_one_that_is_open(
    harbour: Harbour, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process notices the damage first, and puts a whole file under the name."""
    harbour.use(harbour.cache(), 0)
    path, whole = harbour.path(0), harbour.path(0).read_bytes()
    path.write_bytes(bytes(NUM_BYTES))
    is_at = cache_module._is_at

    def replaced(descriptor: int, path: Path) -> bool:
        was_there = is_at(descriptor, path)
        other = path.with_name("other")
        other.write_bytes(whole)
        other.replace(path)
        return was_there

    monkeypatch.setattr(cache_module, "_is_at", replaced)
    found = harbour.cache().get(harbour.files[0])
    assert found is None or os.pread(found.descriptor, NUM_BYTES, 0) == whole


def test_cached_file_that_cannot_be_read_is_fetched_again(harbour: Harbour, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> str:
        monkeypatch.undo()
        raise OSError(errno.EIO, "Input/output error")

    harbour.use(harbour.cache(), 0)
    monkeypatch.setattr("hashlib.file_digest", broken)
    harbour.use(harbour.cache(), 0)
    assert harbour.store.asked["0"] == 2


def test_folder_under_the_name_of_a_file_is_a_storage_error(harbour: Harbour) -> None:
    harbour.path(0).mkdir(parents=True)
    with pytest.raises(StorageError, match="cannot be"):
        harbour.use(harbour.cache(), 0)


@pytest.mark.parametrize("how", ["altered", "cut", "grown", "missing"])
def test_damaged_origin_is_refused_and_nothing_is_left(harbour: Harbour, how: str) -> None:
    data = (harbour.store.folder / "0").read_bytes()
    altered = {"altered": b"x" + data[1:], "cut": data[:-1], "grown": data + b"x"}
    if how != "missing":
        (harbour.store.folder / "0").write_bytes(altered[how])
        with pytest.raises(IntegrityError, match="dataset: the file 0 has"):
            harbour.use(harbour.cache(), 0)
    assert not harbour.everything


def test_download_that_fails_leaves_nothing_and_the_next_one_succeeds(harbour: Harbour) -> None:
    class Broken(SlowStore):
        def stream(self, key: str) -> Iterator[bytes]:
            yield b"x"
            raise StorageError("the line is cut")

    with pytest.raises(StorageError, match="cut"):
        use(harbour.cache(), origin_of(Broken(harbour.store.folder)), harbour.files[0])
    assert not harbour.everything
    harbour.use(harbour.cache(), 0)


def test_what_a_killed_download_has_left_is_used_again(harbour: Harbour) -> None:
    part = harbour.path(0).with_name(f"{harbour.files[0].sha256}.part")
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * 100)
    inode = part.stat().st_ino
    harbour.use(harbour.cache(), 0)
    assert harbour.path(0).stat().st_ino == inode
    assert harbour.everything == [harbour.path(0)]


def test_leftovers_of_other_files_go_when_room_is_needed(harbour: Harbour) -> None:
    left = [harbour.folder / "ab" / name for name in (f"ab{'0' * 62}.part", f"ab{'0' * 62}.{'1' * 32}.part", "notes")]
    left[0].parent.mkdir(parents=True)
    for path in left:
        path.write_bytes(b"x" * 100)
        os.utime(path, (1, 1))
    harbour.use(harbour.cache(files=1), 0)
    assert harbour.everything == [harbour.path(0)]


def test_folders_in_the_cache_are_left_alone(harbour: Harbour) -> None:
    for number in range(2):
        (harbour.path(number).parent / "folder").mkdir(parents=True)
    harbour.use(harbour.cache(files=1), 0, 1, 2)
    assert harbour.here == {2}


def test_download_that_does_not_get_on_is_not_waited_for(harbour: Harbour, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "STALLED_S", 0.1)
    part = harbour.path(0).with_name(f"{harbour.files[0].sha256}.part")
    part.parent.mkdir(parents=True)
    with part.open("wb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        harbour.use(harbour.cache(), 0)
        assert harbour.here == {0}
    assert set(harbour.everything) == {harbour.path(0), part}


def test_second_download_beside_one_that_does_not_get_on_is_not_evicted(
    harbour: Harbour, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Crowded(SlowStore):
        def stream(self, key: str) -> Iterator[bytes]:
            Cache(harbour.folder, 0)._make_room(1)  # another process needs all the room
            yield from super().stream(key)

    monkeypatch.setattr(cache_module, "STALLED_S", 0.1)
    part = harbour.path(0).with_name(f"{harbour.files[0].sha256}.part")
    part.parent.mkdir(parents=True)
    with part.open("wb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        use(harbour.cache(), origin_of(Crowded(harbour.store.folder)), harbour.files[0])
    assert harbour.store.asked["0"] == 1


def test_forked_children_hold_no_locks_of_their_parent(tmp_path: Path) -> None:
    assert run("forking", tmp_path, 3) == {"lived": True, "evicted": True, "stderr": ""}


def _fill(monkeypatch: pytest.MonkeyPatch, *, times: int, code: int = errno.ENOSPC) -> list[int]:
    """The next writes of more than some bytes find the disk full."""
    write, full = os.write, list[int]()

    def limited(descriptor: int, data: Any) -> int:
        if len(data) > 100 and len(full) < times:
            full.append(len(data))
            raise OSError(code, os.strerror(code))
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", limited)
    return full


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_full_disk_is_a_capacity_error_and_nothing_is_left(
    harbour: Harbour, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    _fill(monkeypatch, times=10**6, code=code)
    with pytest.raises(CapacityError, match="no room left to write") as caught:
        harbour.use(harbour.cache(), 0)
    assert caught.value.hint is not None
    assert "TRADEWIND_CACHE" in caught.value.hint
    assert not harbour.everything


def test_full_disk_takes_the_room_of_what_nobody_reads(harbour: Harbour, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = harbour.cache()
    harbour.use(cache, 0, 1, 2)
    with cache.open(harbour.origin, harbour.files[0], what="dataset"):
        full = _fill(monkeypatch, times=1)
        harbour.use(cache, 3)
    assert full
    assert harbour.here == {0, 2, 3}


@pytest.mark.lab
def test_disk_that_others_have_filled_is_a_capacity_error_and_nothing_is_left(harbour: Harbour, tmp_path: Path) -> None:
    harbour.folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(harbour.folder)], check=True)
    try:
        harbour.use(harbour.cache(), 0, 1, 2, 3, 4, 5)
        assert 5 in harbour.here
        assert not wrong_names(harbour.folder)
        harbour.cache(files=0)._make_room(1)
        (harbour.folder / "others").write_bytes(bytes(110_000))
        with pytest.raises(CapacityError, match="no room left") as caught:
            harbour.use(harbour.cache(), 0)
        assert caught.value.hint is not None
        assert [path.name for path in harbour.everything] == ["others"]
    finally:
        subprocess.run(["umount", str(harbour.folder)], check=True)


@pytest.fixture
def strangers() -> Iterator[Harbour]:
    """A harbour that a user who is not root can get to, and no other pytest folder is above it."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield Harbour(folder)
    shutil.rmtree(folder)


@contextlib.contextmanager
def _as_nobody() -> Iterator[None]:
    """Without the rights of root, which no permission stops."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_cache_that_may_only_be_read_gives_what_it_has(strangers: Harbour) -> None:
    strangers.use(strangers.cache(), 0)
    (strangers.store.folder / "asked").chmod(0o666)
    folders = [strangers.folder, strangers.path(0).parent]
    for folder in folders:
        folder.chmod(0o555)
    try:
        with _as_nobody():
            strangers.use(strangers.cache(), 0)
            with pytest.raises(StorageError, match="cannot be written: Permission denied") as caught:
                strangers.use(strangers.cache(), 1)
    finally:
        for folder in folders:
            folder.chmod(0o755)
    assert "TRADEWIND_CACHE" in str(caught.value.hint)


def test_damaged_file_in_a_cache_that_may_only_be_read_is_a_storage_error(strangers: Harbour) -> None:
    strangers.use(strangers.cache(), 0)
    strangers.path(0).write_bytes(bytes(NUM_BYTES))
    strangers.path(0).parent.chmod(0o555)
    try:
        with _as_nobody(), pytest.raises(StorageError, match="Permission denied"):
            strangers.use(strangers.cache(), 0)
    finally:
        strangers.path(0).parent.chmod(0o755)


def test_unreadable_file_of_the_cache_is_a_storage_error(strangers: Harbour) -> None:
    strangers.use(strangers.cache(), 0)
    strangers.path(0).chmod(0)
    with _as_nobody(), pytest.raises(StorageError, match="Permission denied"):
        strangers.use(strangers.cache(), 0)


def test_files_of_others_that_cannot_be_removed_are_passed_over(strangers: Harbour) -> None:
    strangers.use(strangers.cache(), 0, 1)
    strangers.path(0).parent.chmod(0o555)
    strangers.path(1).chmod(0)
    (strangers.store.folder / "asked").chmod(0o666)
    strangers.folder.chmod(0o777)
    try:
        with _as_nobody():
            strangers.use(strangers.cache(files=1), 2)
        assert strangers.here >= {0, 2}
    finally:
        strangers.path(0).parent.chmod(0o755)


@pytest.mark.parametrize("seconds", [-(10**9), -5, 5, 10**9])
def test_clock_that_jumps_gives_no_wrong_data(harbour: Harbour, monkeypatch: pytest.MonkeyPatch, seconds: int) -> None:
    cache, now = harbour.cache(files=3), time.time_ns
    harbour.use(cache, 0, 1)
    monkeypatch.setattr(time, "time_ns", lambda: now() + seconds * 10**9)
    harbour.use(cache, 2, 3)
    monkeypatch.undo()
    harbour.use(cache, 4, 5, 0)
    assert len(harbour.here) == 3
    for number in harbour.here:
        path = harbour.path(number)
        path.write_bytes(bytes(NUM_BYTES))
    harbour.use(cache, *range(6))
    assert not wrong_names(harbour.folder)


@pytest.mark.parametrize("at", [0, 10**9, 4 * 10**9])
def test_time_stamps_from_another_century_do_not_keep_files_for_ever(harbour: Harbour, at: int) -> None:
    cache = harbour.cache(files=2)
    harbour.use(cache, 0, 1)
    for number in (0, 1):
        os.utime(harbour.path(number), (at, at))
    harbour.use(cache, 2, 3, 4)
    assert len(harbour.here) == 2
    assert harbour.store.asked == Counter("01234")


def test_parts_of_a_file_are_peeked_at_where_they_are_here(harbour: Harbour) -> None:
    cache, file = harbour.cache(), harbour.files[0]
    data = (harbour.store.folder / "0").read_bytes()
    assert cache.peek(harbour.origin, file, (0, 10)) is None
    harbour.use(cache, 0)
    assert cache.peek(harbour.origin, file, (5, 99)) == data[5:99]
    assert cache.peek(harbour.origin, file, (NUM_BYTES - 5, NUM_BYTES + 5)) is None
    assert harbour.store.asked["0"] == 1


def test_cache_travels_to_other_processes(harbour: Harbour) -> None:
    cache = harbour.cache(files=3)
    harbour.use(cache, 0)
    copy = pickle.loads(pickle.dumps(cache))
    assert (copy.folder, copy.max_bytes) == (cache.folder, cache.max_bytes)
    harbour.use(copy, 0)
    assert harbour.store.asked["0"] == 1


def test_no_descriptor_stays_open(harbour: Harbour) -> None:
    cache = harbour.cache(files=2)
    harbour.use(cache, 0)
    before = len(os.listdir("/proc/self/fd"))
    harbour.use(cache, *range(6), *range(6))
    (harbour.store.folder / "0").write_bytes(b"")
    harbour.path(0).unlink(missing_ok=True)
    with pytest.raises(IntegrityError):
        harbour.use(cache, 0)
    assert len(os.listdir("/proc/self/fd")) == before


def test_eviction_by_many_threads_at_once_takes_no_file_twice_and_hurts_nobody(harbour: Harbour) -> None:
    cache, stop, failures = harbour.cache(files=2), threading.Event(), []

    def evict() -> None:
        try:
            while not stop.is_set():
                Cache(harbour.folder, 0)._make_room(1)
        except BaseException as exc:  # noqa: BLE001
            failures.append(exc)

    threads = [threading.Thread(target=evict) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda number: harbour.use(cache, number % 6), range(60)))
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failures
