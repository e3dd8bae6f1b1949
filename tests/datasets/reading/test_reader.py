from __future__ import annotations

import os
import queue
import socket
import socketserver
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import free_port
from tests.datasets.logbook import cut, dataset, rows_of
from tradewind.datasets import blocks
from tradewind.datasets.reading import reader as reader_module
from tradewind.datasets.reading.batches import Batches
from tradewind.datasets.reading.certificate import Certificate
from tradewind.datasets.reading.reader import Batch, Reader
from tradewind.datasets.reading.samples import Samples
from tradewind.errors import CapacityError, IntegrityError, SpecError, StorageError
from tradewind.storage import Store, open_store, patience
from tradewind.storage.cache import Cache
from tradewind.testing.faults import Plan, start_faults

SIZES = [120, 61, 90, 0, 31, 75, 3, 111, 64, 40, 99, 26]
PLENTY = 10**9
LIMIT_S = 30


@pytest.fixture(params=["memory", "file", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "s3":
        return open_store(f"{request.getfixturevalue('moto_s3')}/{uuid.uuid4().hex}")
    return open_store(f"memory://{uuid.uuid4().hex}" if request.param == "memory" else str(tmp_path / "store"))


@pytest.fixture
def memory() -> Store:
    return open_store(f"memory://{uuid.uuid4().hex}")


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", PLENTY)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "TRIES", 2)


def made_of(
    store: Store, *, sizes: Sequence[int] = SIZES, sequences: int = 8, width: int = 6, seed: int = 0, **how: Any
) -> Batches:
    return Batches(Samples(dataset(sizes, store=store), "train", width=width), sequences=sequences, seed=seed, **how)


def expected(made: Batches, step: int, *, sizes: Sequence[int] = SIZES, length: int | None = None) -> list[list[int]]:
    """The rows of a global batch, from a loop over all tokens."""
    everything = cut(sizes, width=made.width)
    return [everything[sample] for sample in made.draws(range(step, step + 1), length=length).sample[0].tolist()]


def take(reader: Reader, count: int | None = None) -> list[Batch]:
    """The next batches, or all that there are; the reading ends there."""
    found: list[Batch] = []
    with closing(cast(Any, iter(reader))) as reading:
        for batch in reading:
            found.append(batch)
            if len(found) == count:
                break
    return found


def promptly(work: Callable[[], Any]) -> Any:
    """What it gives or raises, unless it takes so long that it must hang."""
    done: queue.Queue[Any] = queue.Queue()

    def run() -> None:
        try:
            done.put((work(), None))
        except BaseException as exc:  # noqa: BLE001
            done.put((None, exc))

    threading.Thread(target=run, daemon=True).start()
    value, error = done.get(timeout=LIMIT_S)
    if error is not None:
        raise error
    return value


def until_it_fails(reader: Reader) -> tuple[list[Batch], Exception | None]:
    found: list[Batch] = []

    def read() -> Exception | None:
        try:
            found.extend(reader)
        except Exception as exc:  # noqa: BLE001
            return exc
        return None

    error: Exception | None = promptly(read)
    return found, error


def ours() -> list[str]:
    """Threads of reading. Other parts of the house have some that stay with the process."""
    names = ("tradewind-read", "tradewind-shards", "tradewind-ranges", "tradewind-parts")
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(names)]


def descriptors() -> list[str]:
    found = []
    for name in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            found.append(os.readlink(f"/proc/self/fd/{name}"))
    return found


@dataclass
class Changed:
    """A store whose reads are changed on the way: whole objects, or ranges of them."""

    inner: Store
    whole: Callable[[bytes], bytes] = lambda data: data
    ranges: Callable[[bytes], bytes] = lambda data: data
    asked: list[str] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def local_path(self, key: str) -> None:
        return None

    def stream(self, key: str) -> Iterator[bytes]:
        self.asked.append("whole")
        yield self.whole(b"".join(self.inner.stream(key)))

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        self.asked.append("ranges")
        return [self.ranges(part) for part in self.inner.get_ranges(key, ranges)]

    def delete(self, key: str) -> None:
        self.inner.delete(key)


def changed(store: Store, **how: Callable[[bytes], bytes]) -> tuple[Store, Changed]:
    found = Changed(store, **how)  # type: ignore[arg-type]
    return cast(Store, found), found


def test_batches_hold_the_tokens_that_a_loop_over_the_shards_finds(store: Store, cache: Cache) -> None:
    made = made_of(store, window=2)
    found = take(Reader(made, cache=cache), 60)
    assert [batch.step for batch in found] == list(range(60))
    assert [rows_of(batch.tokens) for batch in found] == [expected(made, step) for step in range(60)]
    assert all(batch.rows == 8 for batch in found)


def test_second_reading_of_a_cache_finds_the_same(store: Store, cache: Cache) -> None:
    made = made_of(store)
    first = take(Reader(made, cache=cache), 40)
    again = take(Reader(made, cache=Cache(cache.folder, PLENTY)), 40)
    assert [rows_of(batch.tokens) for batch in again] == [rows_of(batch.tokens) for batch in first]


@pytest.mark.parametrize("world", [2, 3, 16])
def test_parts_of_all_readers_are_the_global_batch(store: Store, cache: Cache, world: int) -> None:
    made = made_of(store, lanes=3)
    parts = [take(Reader(made, rank=rank, world=world, cache=cache), 12) for rank in range(world)]
    for step in range(12):
        joined = [row for part in parts for row in rows_of(part[step].tokens)]
        assert joined == expected(made, step)


def test_tokens_of_several_blocks_are_read_right(store: Store, cache: Cache) -> None:
    """Shards of three blocks and rows that cross from one to the next; the first batch comes from ranges."""
    sizes = [3 * blocks.BLOCK_BYTES // 4 + 5, 2 * blocks.BLOCK_BYTES // 4]
    made = made_of(store, sizes=sizes, width=9001, sequences=3)
    found = take(Reader(made, cache=cache), 7)
    assert [batch.tokens.tolist() for batch in found] == [expected(made, step, sizes=sizes) for step in range(7)]


def test_tokens_stay_in_the_type_of_the_shards(memory: Store, cache: Cache) -> None:
    source = Samples(dataset([60], store=memory, dtype="uint16", first=65_400), "train", width=6)
    (batch,) = take(Reader(Batches(source, sequences=4, seed=0), cache=cache), 1)
    assert batch.tokens.dtype == np.dtype("uint16")
    assert batch.tokens.min() >= 65_400


def test_mixture_is_read_from_its_sources(memory: Store, cache: Cache) -> None:
    sources = [Samples(dataset([200, 90], store=memory), "train", width=6)]
    sources.append(Samples(dataset([77, 60], store=memory, first=10**6, dtype="uint32"), "train", width=6))
    made = Batches(sources, sequences=10, seed=0, weights=[0.7, 0.3])
    for batch in take(Reader(made, cache=cache), 20):
        assert (batch.source == (batch.tokens[:, 0] >= 10**6)).all()
        assert int((batch.source == 1).sum()) == 3


@given(
    st.lists(st.integers(0, 60), min_size=1, max_size=5).filter(lambda sizes: max(sizes) >= 6),
    st.integers(1, 9),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(1, 3),
)
@settings(max_examples=40)
def test_epochs_end_with_a_shorter_batch_and_hold_each_sample_exactly_once(
    sizes: list[int], sequences: int, epochs: int, world: int, workers: int
) -> None:
    made = made_of(open_store(f"memory://{uuid.uuid4().hex}"), sizes=sizes, sequences=sequences)
    read = [
        take(Reader(made, rank=rank, world=world, worker=worker, workers=workers, epochs=epochs))
        for rank in range(world)
        for worker in range(workers)
    ]
    samples = sorted(sample for part in read for batch in part for sample in batch.sample.tolist())
    assert samples == sorted(list(range(made.size)) * epochs)
    steps = -(-epochs * made.size // sequences)
    for rank in range(world):
        mine = read[rank * workers : (rank + 1) * workers]
        assert sorted(batch.step for part in mine for batch in part) == list(range(steps))
        for worker, part in enumerate(mine):
            assert [batch.step for batch in part] == list(range(worker, steps, workers))
            assert [batch.rows for batch in part[:-1]] == [sequences] * (len(part) - 1)
    assert min(batch.rows for part in read for batch in part) == (epochs * made.size - 1) % sequences + 1


def test_reading_of_nothing_ends_at_once(memory: Store, cache: Cache) -> None:
    made = made_of(memory)
    assert take(Reader(made, epochs=0, cache=cache)) == []
    assert take(Reader(made, epochs=1, start=made.size, cache=cache)) == []
    assert take(Reader(made, epochs=1, start=made.size + 99, cache=cache)) == []


def test_more_readers_than_rows_get_empty_batches(memory: Store, cache: Cache) -> None:
    found = take(Reader(made_of(memory, sequences=2), rank=0, world=5, cache=cache), 5)
    assert [batch.tokens.shape for batch in found] == [(0, 6)] * 5
    assert [batch.rows for batch in found] == [2] * 5


@pytest.mark.parametrize(("before", "after"), [(1, 4), (4, 1), (3, 5)])
def test_reading_goes_on_with_another_number_of_readers(store: Store, cache: Cache, before: int, after: int) -> None:
    made = made_of(store, window=2, lanes=2)
    first = [Reader(made, rank=rank, world=before, cache=cache) for rank in range(before)]
    seen = [take(reader, 13) for reader in first]
    states = [reader.state_dict() for reader in first]
    assert all(state == states[0] for state in states)
    second = [Reader(made, rank=rank, world=after, cache=cache) for rank in range(after)]
    for reader in second:
        reader.load_state_dict(states[0])
    seen_then = [take(reader, 20) for reader in second]
    for step in range(33):
        parts = [part[step] for part in seen] if step < 13 else [part[step - 13] for part in seen_then]
        assert [row for part in parts for row in rows_of(part.tokens)] == expected(made, step)
        assert {part.step for part in parts} == {step}


def test_reader_goes_on_where_its_last_iteration_was_left(memory: Store, cache: Cache) -> None:
    made = made_of(memory)
    reader = Reader(made, cache=cache)
    assert [batch.step for batch in take(reader, 3) + take(reader, 2) + take(reader, 1)] == list(range(6))


def test_state_is_what_was_given_and_not_what_was_read_ahead(memory: Store, cache: Cache) -> None:
    reader = Reader(made_of(memory), cache=cache)
    assert reader.state_dict()["samples"] == 0
    with closing(cast(Any, iter(reader))) as reading:
        for step, _ in zip(range(9), reading, strict=False):
            assert reader.state_dict()["samples"] == (step + 1) * 8
    state = reader.state_dict()
    assert len(state["order"]) + 8 == 24


def test_state_of_another_order_is_refused(memory: Store) -> None:
    state = Reader(made_of(memory)).state_dict()
    with pytest.raises(SpecError, match="saved with another dataset version, seed") as caught:
        Reader(made_of(memory, seed=1)).load_state_dict(state)
    assert "number of readers alone may differ" in str(caught.value.hint)


def test_going_on_within_a_batch_is_refused(memory: Store, cache: Cache) -> None:
    """An epoch has ended in a shorter batch: with more epochs, its rows would be read twice."""
    made = made_of(memory)
    reader = Reader(made, epochs=1, cache=cache)
    take(reader)
    assert made.size % 8
    with pytest.raises(SpecError, match=f"{made.size} samples are no whole number of batches of 8"):
        take(Reader(made, epochs=2, start=reader.samples, cache=cache), 1)


@pytest.mark.parametrize(
    "who",
    [{"rank": 2, "world": 2}, {"rank": -1}, {"worker": 3, "workers": 3}, {"worker": -1}, {"start": -8}, {"world": 0}],
)
def test_readers_that_cannot_be_are_refused(memory: Store, who: dict[str, int]) -> None:
    with pytest.raises(SpecError, match=r"is not one of|before the first"):
        Reader(made_of(memory), **who)  # type: ignore[arg-type]


def test_digests_of_all_readers_prove_what_was_read(memory: Store, cache: Cache) -> None:
    made = made_of(memory, lanes=2)
    alone, together = Certificate.start(made), Certificate.start(made)
    for batch in take(Reader(made, cache=cache, epochs=2)):
        alone.add(batch.rows, batch.digest)
    parts = [take(Reader(made, rank=rank, world=3, cache=cache, epochs=2)) for rank in range(3)]
    for step in zip(*parts, strict=True):
        together.add(step[0].rows, np.sum([part.digest for part in step], axis=0))
    assert together == alone
    assert alone.samples == 2 * made.size


def test_readers_of_one_process_share_batches_and_cache(memory: Store, cache: Cache) -> None:
    made = made_of(memory, window=1, lanes=2)
    found: list[list[Batch]] = [[], [], [], []]

    def read(rank: int) -> None:
        found[rank] = take(Reader(made, rank=rank, world=4, cache=cache), 80)

    threads = [threading.Thread(target=read, args=(rank,)) for rank in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT_S)
    for step in range(80):
        assert [row for part in found for row in rows_of(part[step].tokens)] == expected(made, step)


@pytest.mark.parametrize("count", [0, 1, 7])
def test_closing_early_leaves_no_thread_and_no_open_file(store: Store, tmp_path: Path, count: int) -> None:
    made = made_of(store)
    take(Reader(made, cache=Cache(tmp_path / "warm", PLENTY)), 2)
    before, mine = sorted(descriptors()), str(tmp_path)
    for turn in range(3):
        reading = cast(Any, iter(Reader(made, cache=Cache(tmp_path / f"cache-{turn}", PLENTY))))
        for _, _ in zip(range(count), reading, strict=False):
            pass
        reading.close()
    assert ours() == []
    assert [name for name in descriptors() if mine in name] == [name for name in before if mine in name]


def test_iteration_that_is_forgotten_ends(memory: Store, cache: Cache) -> None:
    for batch in Reader(made_of(memory), cache=cache):
        assert batch.step == 0
        break
    assert ours() == []


def test_error_of_the_consumer_ends_the_reading(memory: Store, cache: Cache) -> None:
    def train() -> None:
        with closing(cast(Any, iter(Reader(made_of(memory), cache=cache)))) as reading:
            for _ in reading:
                raise RuntimeError("loss is not a number")

    with pytest.raises(RuntimeError, match="not a number"):
        train()
    assert ours() == []


@pytest.mark.parametrize("how", ["altered", "cut", "emptied", "grown", "missing"])
def test_damaged_shard_is_an_integrity_error_and_no_wrong_batch(store: Store, cache: Cache, how: str) -> None:
    made = made_of(store, window=2)
    shard = next(made.sources[0].table[number] for number in (0, 1))
    data = store.get(shard.key)
    altered = {
        "altered": data[:80] + bytes([data[80] ^ 4]) + data[81:],
        "cut": data[:-9],
        "emptied": b"",
        "grown": data + b"x",
    }
    store.delete(shard.key)
    if how != "missing":
        store.put(shard.key, altered[how])
    found, error = until_it_fails(Reader(made, epochs=1, cache=cache))
    assert isinstance(error, IntegrityError)
    assert "logbook@1" in error.message
    assert shard.key in error.message
    assert [rows_of(batch.tokens) for batch in found] == [expected(made, step) for step in range(len(found))]
    assert ours() == []


@pytest.mark.parametrize("how", ["altered", "cut", "emptied", "missing"])
def test_first_batch_of_damaged_shards_is_an_integrity_error(store: Store, cache: Cache, how: str) -> None:
    made = made_of(store, sizes=[90])
    shard = made.sources[0].table[0]
    data = store.get(shard.key)
    altered = {
        "altered": bytes([data[0] ^ 1]) + bytes([byte ^ 1 for byte in data[1:]]),
        "cut": data[:-9],
        "emptied": b"",
    }
    store.delete(shard.key)
    if how != "missing":
        store.put(shard.key, altered[how])
    found, error = until_it_fails(Reader(made, cache=cache))
    assert (found, type(error)) == ([], IntegrityError)


@given(st.data())
@settings(max_examples=60)
def test_a_byte_that_flips_anywhere_never_gives_a_wrong_batch(data: st.DataObject) -> None:
    """In the ids or in their checksums, in the store itself."""
    store = open_store(f"memory://{uuid.uuid4().hex}")
    made = made_of(store, sizes=[70, 45], window=1)
    shard = made.sources[0].table[data.draw(st.integers(0, 1))]
    stored = bytearray(store.get(shard.key))
    stored[data.draw(st.integers(0, len(stored) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    store.put(shard.key, bytes(stored))
    found, error = until_it_fails(Reader(made, epochs=1, cache=fresh_cache()))
    assert isinstance(error, IntegrityError)
    assert [rows_of(batch.tokens) for batch in found] == [
        expected(made, batch.step, sizes=[70, 45], length=batch.rows) for batch in found
    ]


def fresh_cache() -> Cache:
    return Cache(Path(os.environ["TRADEWIND_CACHE"]) / uuid.uuid4().hex, PLENTY)


@pytest.mark.parametrize("at", [0, 3, -1])
def test_a_byte_that_flips_on_the_way_of_a_range_is_read_again_from_the_whole_shard(
    memory: Store, cache: Cache, at: int
) -> None:
    def flip(data: bytes) -> bytes:
        flipped = bytearray(data)
        flipped[at] ^= 1
        return bytes(flipped)

    made = made_of(memory)
    store, _ = changed(memory, ranges=flip)
    made = made_of(store)
    assert [rows_of(batch.tokens) for batch in take(Reader(made, cache=cache), 3)] == [
        expected(made, step) for step in range(3)
    ]


def test_flipped_bytes_of_a_cached_shard_are_fetched_again(memory: Store, cache: Cache) -> None:
    made = made_of(memory)
    take(Reader(made, cache=cache), 30)
    for path in cache.folder.glob("??/*"):
        assert path.stat().st_size
        path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])
    for again in (cache, Cache(cache.folder, PLENTY)):
        found = take(Reader(made, cache=again), 30)
        assert [rows_of(batch.tokens) for batch in found] == [expected(made, step) for step in range(30)]


def test_first_batch_comes_before_any_whole_shard(memory: Store, cache: Cache) -> None:
    opened = threading.Event()

    def wait(data: bytes) -> bytes:
        assert opened.wait(LIMIT_S)
        return data

    store, seen = changed(memory, whole=wait)
    made = made_of(store)
    with closing(cast(Any, iter(Reader(made, cache=cache)))) as reading:
        first = promptly(lambda: next(reading))
        assert rows_of(first.tokens) == expected(made, 0)
        assert list(cache.folder.glob("??/*[0-9a-f]")) == []
        opened.set()
        assert rows_of(next(reading).tokens) == expected(made, 1)
    assert "ranges" in seen.asked


def test_shards_from_before_there_were_checksums_are_read_whole(
    memory: Store, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "encode", lambda tokens: tokens.astype("<u4").tobytes())
    store, seen = changed(memory)
    made = made_of(store)
    assert [rows_of(batch.tokens) for batch in take(Reader(made, cache=cache), 30)] == [
        expected(made, step) for step in range(30)
    ]
    assert "ranges" not in seen.asked


def test_shards_are_downloaded_once_an_epoch_and_only_those_ahead(memory: Store, cache: Cache) -> None:
    store, seen = changed(memory)
    made = made_of(store, window=2)
    take(Reader(made, epochs=3, cache=cache))
    assert seen.asked.count("whole") == (made.sources[0].rows > 0).sum()


def test_start_of_an_epoch_fetches_the_shards_of_few_windows(memory: Store, cache: Cache) -> None:
    """About thirty samples are read ahead; a window of two shards has about as many."""
    store, seen = changed(memory)
    take(Reader(made_of(store, sizes=SIZES * 8, sequences=1, window=2), cache=cache), 1)
    assert seen.asked.count("whole") <= 10


def test_closing_waits_for_downloads_that_run_and_for_no_others(
    memory: Store, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_module, "THREADS", 1)
    running, released = threading.Event(), threading.Event()

    def wait(data: bytes) -> bytes:
        running.set()
        assert released.wait(LIMIT_S)
        return data

    store, seen = changed(memory, whole=wait)
    reading = cast(Any, iter(Reader(made_of(store, sizes=SIZES * 8, window=8), cache=cache)))
    next(reading)
    assert running.wait(LIMIT_S)
    threading.Timer(0.3, released.set).start()
    promptly(reading.close)
    assert seen.asked.count("whole") == 1
    assert ours() == []


def test_working_set_may_be_larger_than_the_cache(memory: Store, tmp_path: Path) -> None:
    made = made_of(memory, window=2)
    found = promptly(lambda: take(Reader(made, epochs=2, cache=Cache(tmp_path / "cache", 100))))
    assert len(found) == -(-2 * made.size // 8)
    assert [rows_of(batch.tokens) for batch in found[:-1]] == [expected(made, step) for step in range(len(found) - 1)]


def test_full_disk_is_raised_where_the_batch_is_asked_for(
    memory: Store, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, write = made_of(memory), os.write

    def full(descriptor: int, data: Any) -> int:
        raise OSError(28, "No space left on device")

    with closing(cast(Any, iter(Reader(made, cache=cache)))) as reading:
        next(reading)
    monkeypatch.setattr(os, "write", full)
    _, error = until_it_fails(Reader(made, cache=Cache(cache.folder / "other", PLENTY)))
    assert isinstance(error, CapacityError)
    monkeypatch.setattr(os, "write", write)
    assert rows_of(take(Reader(made, cache=Cache(cache.folder / "other", PLENTY)), 1)[0].tokens) == expected(made, 0)


@dataclass
class Relay:
    """A way to a server that can be cut and opened again, on one port."""

    server: str
    port: int = field(default_factory=free_port)
    _server: Any = None
    _lines: list[socket.socket] = field(default_factory=list)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def open(self) -> None:
        target, lines = urlsplit(self.server), self._lines

        class Line(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with suppress(OSError), socket.create_connection((target.hostname, target.port)) as other:
                    lines.extend((self.request, other))
                    back = threading.Thread(target=_pump, args=(other, self.request), daemon=True)
                    back.start()
                    _pump(self.request, other)
                    back.join()

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = daemon_threads = True

        self._server = Server(("127.0.0.1", self.port), Line)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def cut(self) -> None:
        self._server.shutdown()
        self._server.socket.close()
        while self._lines:
            with suppress(OSError):
                self._lines.pop().shutdown(socket.SHUT_RDWR)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def relay(moto_s3: str, moto_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Relay]:
    found = Relay(moto_endpoint)
    found.open()
    monkeypatch.setenv("AWS_ENDPOINT_URL", found.endpoint)
    yield found
    found.cut()


def test_server_that_is_away_for_a_moment_in_the_middle_of_an_epoch_is_waited_for(
    moto_s3: str, relay: Relay, cache: Cache
) -> None:
    made = made_of(open_store(f"{moto_s3}/{uuid.uuid4().hex}"), window=1)
    reader = Reader(made, epochs=2, cache=cache)
    found: list[Batch] = []

    def read() -> None:
        for batch in reader:
            found.append(batch)
            if batch.step == 3:
                relay.cut()
                threading.Timer(0.5, relay.open).start()

    promptly(read)
    assert len(found) == -(-2 * made.size // 8)
    assert [rows_of(batch.tokens) for batch in found[:-1]] == [expected(made, step) for step in range(len(found) - 1)]


@pytest.mark.usefixtures("impatient")
def test_server_that_stays_away_is_a_storage_error_and_reading_goes_on_from_there_later(
    moto_s3: str, relay: Relay, cache: Cache
) -> None:
    made = made_of(open_store(f"{moto_s3}/{uuid.uuid4().hex}"), window=1, sequences=4)
    reader = Reader(made, epochs=1, cache=cache)
    found: list[Batch] = []

    def read() -> None:
        for batch in reader:
            found.append(batch)
            if batch.step == 2:
                relay.cut()

    began = time.monotonic()
    with pytest.raises(StorageError) as caught:
        promptly(read)
    assert caught.value.remedy == "retry"
    assert time.monotonic() - began < 10
    assert ours() == []
    relay.open()
    later = Reader(made, rank=0, world=1, epochs=1, cache=cache)
    later.load_state_dict(reader.state_dict())
    found += promptly(lambda: take(later))
    assert sorted(sample for batch in found for sample in batch.sample.tolist()) == list(range(made.size))
    assert [rows_of(batch.tokens) for batch in found[:-1]] == [expected(made, step) for step in range(len(found) - 1)]


@pytest.mark.usefixtures("impatient")
def test_server_that_is_gone_before_the_first_batch_is_a_storage_error_at_once(
    moto_s3: str, relay: Relay, cache: Cache
) -> None:
    made = made_of(open_store(f"{moto_s3}/{uuid.uuid4().hex}"), sequences=64)
    relay.cut()
    began = time.monotonic()
    found, error = until_it_fails(Reader(made, cache=cache))
    relay.open()
    assert found == []
    assert isinstance(error, StorageError)
    assert time.monotonic() - began < 5


def test_bad_days_of_a_server_change_no_batch(
    moto_s3: str, moto_endpoint: str, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = made_of(open_store(f"{moto_s3}/bad-days"), window=2)
    with start_faults(moto_endpoint, Plan(seed=7, share=0.3, slow_s=0.01)) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        elsewhere = made_of(open_store(made.sources[0].dataset.store.url), window=2)
        found = promptly(lambda: take(Reader(elsewhere, epochs=1, cache=cache)))
        assert sum(count for fault, count in proxy.seen.items() if fault != "none") > 5
    assert [rows_of(batch.tokens) for batch in found[:-1]] == [expected(made, step) for step in range(len(found) - 1)]


@pytest.mark.parametrize("number", [0, 3, 9, 14])
def test_answer_with_a_flipped_bit_never_gives_a_wrong_batch(
    moto_s3: str, moto_endpoint: str, cache: Cache, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    store = open_store(f"{moto_s3}/{uuid.uuid4().hex}")
    made = made_of(store, window=2)
    counter = iter(range(10**6))
    with start_faults(moto_endpoint) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        elsewhere = Batches(
            Samples(dataset(SIZES, store=open_store(store.url)), "train", width=6), sequences=8, seed=0, window=2
        )
        proxy.inject("flipped", when=lambda method, path: method == "GET" and next(counter) == number)
        reader = Reader(elsewhere, epochs=1, cache=cache)
        found, error = until_it_fails(reader)
        assert proxy.seen["flipped"] == 1
        assert error is None or isinstance(error, IntegrityError)
        found += promptly(lambda: take(reader)) if error else []
    assert len(found) == -(-made.size // 8)
    assert [rows_of(batch.tokens) for batch in found[:-1]] == [expected(made, step) for step in range(len(found) - 1)]
