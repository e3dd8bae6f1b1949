from __future__ import annotations

import gc
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from tests.datasets.logbook import cut, dataset, rows_of
from tradewind.datasets import blocks
from tradewind.datasets.reading.order import Indices
from tradewind.datasets.reading.samples import Samples
from tradewind.datasets.reading.window import Shards
from tradewind.errors import IntegrityError, StorageError
from tradewind.storage import Store, open_store
from tradewind.storage.cache import Cache

SIZES = [41, 30, 55, 26]
LIMIT_S = 20


class Asked:
    """A store that notes which objects are streamed, and may be told to fail or to wait."""

    def __init__(self, inner: Store) -> None:
        self.inner, self.keys = inner, list[str]()
        self.before: Callable[[], object] = lambda: None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def stream(self, key: str) -> Iterator[bytes]:
        self.keys.append(key)
        self.before()
        return self.inner.stream(key)

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        self.before()
        return self.inner.get_ranges(key, ranges)


@pytest.fixture
def store() -> Asked:
    return Asked(open_store(f"memory://{uuid.uuid4().hex}"))


@pytest.fixture
def source(store: Asked) -> Samples:
    return Samples(dataset(SIZES, store=cast(Store, store)), "train", width=6)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path, 10**9)


@pytest.fixture
def shards(source: Samples, cache: Cache) -> Iterator[Shards]:
    made = Shards([source], cache, threads=3)
    yield made
    made.close()


def rows(*numbers: int) -> Indices:
    return np.array(numbers, dtype=np.int64)


def by_shard(number: int) -> list[list[int]]:
    first = sum(SIZES[:number])
    return [sample for sample in cut(SIZES) if first <= sample[0] < first + SIZES[number]]


def open_files(cache: Cache) -> int:
    gc.collect()
    names = [Path("/proc/self/fd") / name for name in os.listdir("/proc/self/fd")]
    return sum(str(cache.folder) in os.readlink(name) for name in names if name.is_symlink())


def until(holds: Callable[[], bool]) -> bool:
    end = time.monotonic() + LIMIT_S
    while not holds() and time.monotonic() < end:
        time.sleep(0.005)
    return holds()


def test_shards_give_their_samples_whether_they_were_wanted_or_not(shards: Shards) -> None:
    shards.want([(0, 2), (0, 0)])
    for number in range(4):
        assert rows_of(shards.samples((0, number))) == by_shard(number)


def test_wanted_shards_come_without_being_asked_for(shards: Shards, store: Asked, source: Samples) -> None:
    shards.want([(0, 1), (0, 3)])
    assert until(lambda: len(store.keys) == 2)
    assert set(store.keys) == {source.table[1].key, source.table[3].key}


def test_what_is_wanted_is_pinned_and_the_rest_is_let_go(shards: Shards, cache: Cache, source: Samples) -> None:
    shards.want([(0, 0), (0, 1)])
    for number in range(2):
        shards.samples((0, number))
    shards.want([(0, 1)])
    Cache(cache.folder, 0)._make_room(1)
    left = {path.name for path in cache.folder.glob("??/*")}
    assert left == {source.table[1].sha256}


def test_samples_stay_readable_after_their_shard_was_let_go(shards: Shards, cache: Cache) -> None:
    held = shards.samples((0, 0))
    shards.want([])
    Cache(cache.folder, 0)._make_room(1)
    assert not list(cache.folder.glob("??/*"))
    assert rows_of(held) == by_shard(0)


def test_shard_that_is_wanted_for_a_moment_only_is_let_go_when_it_has_come(
    shards: Shards, store: Asked, cache: Cache
) -> None:
    gate = threading.Event()
    store.before = lambda: gate.wait(LIMIT_S)
    shards.want([(0, 0)])
    assert until(lambda: len(store.keys) == 1)
    shards.want([])
    gate.set()
    assert until(lambda: bool(list(cache.folder.glob("??/*[0-9a-f]"))) and open_files(cache) == 0)


def test_nothing_stays_open_after_closing(source: Samples, cache: Cache) -> None:
    made = Shards([source], cache, threads=2)
    made.want([(0, number) for number in range(4)])
    made.samples((0, 0))
    made.close()
    assert open_files(cache) == 0
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("tradewind-shards")]


def test_file_that_cannot_be_mapped_is_closed(
    source: Samples, cache: Cache, shards: Shards, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unmapped(self: Samples, index: int, file: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Samples, "map", unmapped)
    with pytest.raises(MemoryError):
        shards.samples((0, 0))
    assert open_files(cache) == 0


def test_parts_are_the_rows_that_were_asked_for_and_no_shard_is_fetched(shards: Shards, store: Asked) -> None:
    found = shards.parts([(0, 2), (0, 0)], [rows(3, 0, 3), rows(1)])
    assert found is not None
    assert [rows_of(part) for part in found] == [[by_shard(2)[3], by_shard(2)[0], by_shard(2)[3]], [by_shard(0)[1]]]
    assert store.keys == []


def test_parts_come_from_the_cache_where_the_shard_is_there(shards: Shards, store: Asked) -> None:
    shards.samples((0, 1))
    store.before = lambda: pytest.fail("asked the store")
    found = shards.parts([(0, 1)], [rows(0, 2)])
    assert found is not None
    assert rows_of(found[0]) == [by_shard(1)[0], by_shard(1)[2]]


def test_parts_of_a_damaged_copy_in_the_cache_come_from_the_store(shards: Shards, cache: Cache) -> None:
    shards.samples((0, 1))
    (path,) = cache.folder.glob("??/*")
    path.write_bytes(bytes(byte ^ 1 for byte in path.read_bytes()[:-4]) + path.read_bytes()[-4:])
    found = shards.parts([(0, 1)], [rows(0, 2)])
    assert found is not None
    assert rows_of(found[0]) == [by_shard(1)[0], by_shard(1)[2]]


def test_parts_of_several_blocks_are_joined(cache: Cache) -> None:
    per_block = blocks.BLOCK_BYTES // 4
    source = Samples(dataset([3 * per_block + 10]), "train", width=per_block + 3)
    made = Shards([source], cache, threads=2)
    try:
        found = made.parts([(0, 0)], [rows(1, 0)])
    finally:
        made.close()
    assert found is not None
    assert np.array_equal(found[0], source.read([1, 0], cache=cache))


@pytest.mark.parametrize("damage", [lambda data: bytes(len(data)), lambda data: data[:-7], lambda data: b""])
def test_parts_of_damaged_shards_are_none_and_the_whole_shard_tells_why(
    shards: Shards, store: Asked, source: Samples, damage: Callable[[bytes], bytes]
) -> None:
    key = source.table[1].key
    store.put(key, damage(store.get(key)))
    assert shards.parts([(0, 0), (0, 1)], [rows(0), rows(0)]) is None
    with pytest.raises(IntegrityError, match=f"logbook@1: the file {key}"):
        shards.samples((0, 1))


def test_parts_of_a_lost_shard_are_none_and_the_whole_shard_tells_why(
    shards: Shards, store: Asked, source: Samples
) -> None:
    store.delete(source.table[1].key)
    assert shards.parts([(0, 1)], [rows(0)]) is None
    with pytest.raises(IntegrityError, match="logbook@1 has lost its file"):
        shards.samples((0, 1))


def test_parts_that_fail_hold_up_nothing_behind_them(shards: Shards, store: Asked) -> None:
    """Of hundreds of rows that are asked for, the first failure ends it; the rest is not tried one after the other."""
    asked: list[int] = []

    def fail() -> None:
        asked.append(1)
        if len(asked) > 1:  # the checksums still come
            time.sleep(0.01)
            raise StorageError("the store is away")

    store.before = fail
    assert shards.parts([(0, 0)], [rows(*[0, 1, 2] * 200)]) is None
    store.before = lambda: None
    assert rows_of(shards.samples((0, 0))) == by_shard(0)
    assert len(asked) < 60


def test_download_that_failed_ahead_is_tried_again_when_it_is_needed(shards: Shards, store: Asked) -> None:
    def fail() -> None:
        raise StorageError("the store is away")

    store.before = fail
    shards.want([(0, 0)])
    assert until(lambda: shards._wanted[0, 0].done())
    with pytest.raises(StorageError, match="away"):
        shards.samples((0, 0))
    store.before = lambda: None
    assert rows_of(shards.samples((0, 0))) == by_shard(0)


def test_shard_that_was_mended_is_read_without_a_restart(shards: Shards, store: Asked, source: Samples) -> None:
    key = source.table[0].key
    data = store.get(key)
    store.put(key, b"x" * len(data))
    with pytest.raises(IntegrityError):
        shards.samples((0, 0))
    store.put(key, data)
    assert rows_of(shards.samples((0, 0))) == by_shard(0)
