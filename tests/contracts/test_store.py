"""What every store promises, tried on each scheme of the table. A new line in the table is tested at once."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import re
import signal
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from tradewind.errors import ConflictError, NotFoundError, SpecError, StorageError
from tradewind.records import AliasMove
from tradewind.storage import STORES, RecordLog, Store, open_store

MIB = 2**20
RACERS = 16


def _folder(request: pytest.FixtureRequest) -> str:
    """A name for the place of one test, the same in each run, because the faults of a plan depend on it."""
    return re.sub(r"\W+", "-", request.node.name)


FRESH_URLS: dict[str, Callable[[pytest.FixtureRequest], str]] = {
    "file": lambda request: (request.getfixturevalue("tmp_path") / "store with space").as_uri(),
    "memory": lambda request: f"memory://{uuid.uuid4().hex}",
    "s3": lambda request: f"{request.getfixturevalue('moto_s3')}/{_folder(request)}/deep",
    "s3-ceph": lambda request: f"{request.getfixturevalue('ceph_s3')}/{_folder(request)}/deep",
    "s3-faults": lambda request: f"{request.getfixturevalue('faulty_s3')}/{_folder(request)}/deep",
    "gs": lambda request: f"{request.getfixturevalue('google')}/{_folder(request)}/deep",
    "gs-faults": lambda request: f"{request.getfixturevalue('faulty_google')}/{_folder(request)}/deep",
    "az": lambda request: f"{request.getfixturevalue('azure')}/{_folder(request)}/deep",
    "az-faults": lambda request: f"{request.getfixturevalue('faulty_azure')}/{_folder(request)}/deep",
    "local": lambda request: f"local://{request.getfixturevalue('tmp_path')}/store with space",
}
"""An empty place for each scheme, on each server, and one behind fsspec. A scheme that is not here fails a test."""

SAME_AS = {"abfs": "az", "abfss": "az"}
IN_ONE_PROCESS = ("memory",)
PAGES = {"s3": 1050, "s3-ceph": 1050, "gs": 150, "gs-faults": 150}
"""How many objects fill more than one page of a listing. Other places have larger pages or none."""


@pytest.fixture(params=FRESH_URLS)
def store(request: pytest.FixtureRequest) -> Store:
    return open_store(FRESH_URLS[request.param](request))


@pytest.fixture(params=[place for place in FRESH_URLS if place not in IN_ONE_PROCESS])
def shared_store(request: pytest.FixtureRequest) -> Store:
    return open_store(FRESH_URLS[request.param](request))


@pytest.fixture(scope="module")
def racers() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(RACERS, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


@pytest.fixture(scope="module")
def gate() -> Iterator[Any]:
    with multiprocessing.get_context("spawn").Manager() as manager:
        yield manager.Barrier(RACERS)


def keys(store: Store, prefix: str) -> list[str]:
    return sorted(item.key for item in store.list(prefix))


class TestStore:
    def test_is_a_store_whose_url_opens_it_again(self, store: Store) -> None:
        assert isinstance(store, Store)
        store.put("a", b"1")
        assert open_store(store.url).get("a") == b"1"

    def test_gives_back_what_was_put(self, store: Store) -> None:
        data = bytes(range(256))
        store.put("a/b/c.bin", data)
        assert store.get("a/b/c.bin") == data
        assert type(store.get("a/b/c.bin")) is bytes

    def test_keeps_an_empty_object(self, store: Store) -> None:
        store.put("empty", b"")
        assert store.get("empty") == b""
        assert store.head("empty").num_bytes == 0

    def test_put_replaces_with_longer_and_with_shorter_bytes(self, store: Store) -> None:
        for data in (b"one", b"longer than one", b""):
            store.put("a", data)
            assert store.get("a") == data
            assert store.head("a").num_bytes == len(data)

    def test_streams_a_file(self, store: Store, tmp_path: Path) -> None:
        source = tmp_path / "source.bin"
        source.write_bytes(os.urandom(6 * MIB + 1))
        store.put("streamed", source)
        assert store.get("streamed") == source.read_bytes()

    def test_file_that_is_not_there_is_named(self, store: Store, tmp_path: Path) -> None:
        with pytest.raises(NotFoundError, match=r"there is no file .*/nowhere"):
            store.put("a", tmp_path / "nowhere")
        assert keys(store, "") == []

    def test_takes_objects_larger_than_one_part(self, store: Store) -> None:
        data = os.urandom(11 * MIB + 3)
        store.put("put", data)
        store.create("created", data)
        assert store.get("put") == data
        assert store.get("created") == data
        assert store.get_ranges("put", [(10 * MIB, 10 * MIB + 5)]) == [data[10 * MIB : 10 * MIB + 5]]
        with pytest.raises(ConflictError):
            store.create("created", data[::-1])
        assert store.get("created") == data

    def test_create_writes_once_and_the_first_bytes_stay(self, store: Store) -> None:
        store.create("once", b"first")
        with pytest.raises(ConflictError, match="once exists already"):
            store.create("once", b"second")
        with pytest.raises(ConflictError):
            store.create("once", b"first")
        assert store.get("once") == b"first"
        store.delete("once")
        store.create("once", b"third")
        assert store.get("once") == b"third"

    def test_create_refuses_what_was_put(self, store: Store) -> None:
        store.put("a", b"put")
        with pytest.raises(ConflictError):
            store.create("a", b"created")
        assert store.get("a") == b"put"

    def test_of_racing_threads_exactly_one_creates(self, store: Store) -> None:
        racers, rounds = 4, 25
        gate = Barrier(racers)

        def race(racer: int) -> list[bool]:
            return [_create(store, f"race/{turn}", racer, gate) for turn in range(rounds)]

        with ThreadPoolExecutor(racers) as pool:
            won = list(pool.map(race, range(racers)))
        for turn in range(rounds):
            winners = [racer for racer in range(racers) if won[racer][turn]]
            assert [str(racer).encode() for racer in winners] == [store.get(f"race/{turn}")]

    def test_of_sixteen_racing_processes_exactly_one_creates(
        self, shared_store: Store, racers: ProcessPoolExecutor, gate: Any
    ) -> None:
        rounds = 6
        races = [
            racers.submit(_race_all, dict(os.environ), shared_store, racer, rounds, gate) for racer in range(RACERS)
        ]
        won = [race.result(timeout=120) for race in races]
        assert Counter(turn for turns in won for turn in turns) == Counter(range(rounds))
        for racer, turns in enumerate(won):
            assert all(shared_store.get(f"race/{turn}") == str(racer).encode() for turn in turns)

    def test_of_sixteen_appending_processes_none_loses_a_record(
        self, shared_store: Store, racers: ProcessPoolExecutor, gate: Any
    ) -> None:
        races = [racers.submit(_append, dict(os.environ), shared_store, racer, 2, gate) for racer in range(RACERS)]
        written = [move for race in races for move in race.result(timeout=120)]
        log = RecordLog(shared_store, "aliases/prod", AliasMove)
        assert sorted(move.move for move in written) == log.numbers() == list(range(1, 2 * RACERS + 1))
        assert sorted(move.writer for move in written) == sorted(move.writer for move in log.all())

    def test_many_threads_may_open_one_store_at_once(self, store: Store) -> None:
        for turn in range(20):
            fresh: Store = pickle.loads(pickle.dumps(store))
            gate = Barrier(8)

            def put(thread: int, fresh: Store = fresh, turn: int = turn, gate: Barrier = gate) -> None:
                gate.wait()
                fresh.put(f"{turn}/{thread}", b"")

            with ThreadPoolExecutor(8) as pool:
                list(pool.map(put, range(8)))
        assert len(keys(store, "")) == 160

    def test_gives_ranges_in_the_order_asked(self, store: Store) -> None:
        store.put("digits", b"0123456789")
        assert store.get_ranges("digits", [(7, 10), (0, 1), (2, 5), (0, 10)]) == [b"789", b"0", b"234", b"0123456789"]
        assert store.get_ranges("digits", []) == []

    @pytest.mark.parametrize("span", [(5, 11), (10, 11), (50, 51), (0, 2**40)])
    def test_range_past_the_end_is_refused(self, store: Store, span: tuple[int, int]) -> None:
        store.put("digits", b"0123456789")
        with pytest.raises(StorageError, match="digits") as caught:
            store.get_ranges("digits", [(0, 1), span])
        assert caught.value.hint == "the object is too short"

    def test_negative_range_is_refused(self, store: Store) -> None:
        store.put("digits", b"0123456789")
        with pytest.raises(StorageError, match="digits"):
            store.get_ranges("digits", [(-5, 3)])

    def test_lists_below_a_folder_like_prefix(self, store: Store) -> None:
        for key in ("a/1", "a/b/2", "ab/3", "a.json", "c"):
            store.put(key, key.encode())
        assert keys(store, "a") == ["a/1", "a/b/2"]
        assert keys(store, "a/") == ["a/1", "a/b/2"]
        assert keys(store, "a/b") == ["a/b/2"]
        assert keys(store, "c") == []
        assert keys(store, "nothing/here") == []
        assert keys(store, "") == ["a.json", "a/1", "a/b/2", "ab/3", "c"]
        assert {item.key: item.num_bytes for item in store.list("a")} == {"a/1": 3, "a/b/2": 5}

    def test_lists_more_objects_than_one_page_holds(self, store: Store, request: pytest.FixtureRequest) -> None:
        count = PAGES.get(request.node.callspec.params["store"], 60)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda number: store.put(f"many/{number:04d}", b""), range(count)))
        assert keys(store, "many") == [f"many/{number:04d}" for number in range(count)]
        assert sorted(item.key for item in store.list("many", after="many/0009")) == keys(store, "many")[10:]

    def test_lists_only_what_comes_after_a_key(self, store: Store) -> None:
        for key in ("a/1", "a/2", "a/b/3", "a/ü", "ab/4"):
            store.put(key, b"")
        for after, expected in (
            ("a/1", ["a/2", "a/b/3", "a/ü"]),
            ("a/15", ["a/2", "a/b/3", "a/ü"]),
            ("a/b", ["a/b/3", "a/ü"]),
            ("a/ü", []),
            ("", ["a/1", "a/2", "a/b/3", "a/ü"]),
        ):
            assert sorted(item.key for item in store.list("a", after=after)) == expected
        assert sorted(item.key for item in store.list("", after="a/b/3")) == ["a/ü", "ab/4"]

    def test_names_the_folders_right_below_a_prefix(self, store: Store) -> None:
        for key in ("a/one/1", "a/one/2", "a/two/deep/3", "a/with space/4", "a/file", "ab/other/5", "top"):
            store.put(key, b"")
        assert store.folders("a") == store.folders("a/") == ["one", "two", "with space"]
        assert store.folders("") == ["a", "ab"]
        assert store.folders("a/two") == ["deep"]
        assert store.folders("a/two/deep") == store.folders("a/file") == store.folders("nothing/here") == []
        store.delete("a/two/deep/3")
        assert store.folders("a") == ["one", "with space"]

    def test_streams_an_object_in_pieces(self, store: Store) -> None:
        data = os.urandom(11 * MIB + 3)
        store.put("large", data)
        pieces = list(store.stream("large"))
        assert b"".join(pieces) == data
        assert store.url.startswith("memory:") or len(pieces) > 1
        assert store.url.startswith("memory:") or all(memoryview(piece).nbytes <= 9 * MIB for piece in pieces)
        store.put("empty", b"")
        assert b"".join(store.stream("empty")) == b""

    def test_stream_of_a_missing_key_is_not_found_when_it_is_read(self, store: Store) -> None:
        stream = store.stream("a/none")
        with pytest.raises(NotFoundError, match=r"there is no .*/a/none"):
            next(stream)

    def test_tells_when_an_object_was_written(self, store: Store) -> None:
        store.put("a/b", b"1")
        (listed,) = store.list("a")
        for item in (listed, store.head("a/b")):
            assert item.modified_at is not None
            assert abs(datetime.now(UTC) - item.modified_at) < timedelta(minutes=5)
        assert listed == store.head("a/b")

    def test_head_gives_key_and_size(self, store: Store) -> None:
        store.put("a/b", b"12345")
        assert (store.head("a/b").key, store.head("a/b").num_bytes) == ("a/b", 5)

    def test_missing_key_is_not_found_and_named(self, store: Store) -> None:
        store.put("a/b", b"")
        for ask in (store.get, store.head, lambda key: store.get_ranges(key, [(0, 1)])):
            for key in ("a/none", "a", "a/b/c"):
                with pytest.raises(NotFoundError, match=f"there is no .*/{key}"):
                    ask(key)

    def test_delete_removes_and_is_no_error_twice(self, store: Store) -> None:
        store.put("a/b", b"")
        store.put("a/c", b"")
        store.delete("a/b")
        store.delete("a/b")
        store.delete("never/there")
        assert keys(store, "a") == ["a/c"]

    @pytest.mark.parametrize(
        "key", ["with space", "ünï/cödé", "per%20cent", "a+b=c&d", "hash#mark", "question?mark", "a:b", "100%"]
    )
    def test_keys_are_taken_as_they_are(self, store: Store, key: str) -> None:
        store.put(f"folder/{key}", b"1")
        assert keys(store, "folder") == [f"folder/{key}"]
        assert store.get(f"folder/{key}") == b"1"
        local = store.local_path(f"folder/{key}")
        assert local is None or local.read_bytes() == b"1"

    @pytest.mark.parametrize("key", ["../outside", "a/../../outside", "/etc/passwd", "a/./b"])
    def test_key_cannot_leave_the_store(self, store: Store, key: str) -> None:
        for act in (store.get, store.head, store.delete, store.local_path, lambda key: store.create(key, b"")):
            with pytest.raises(SpecError, match="is not a key"):
                act(key)

    def test_local_path_is_the_file_itself_or_none(self, store: Store) -> None:
        store.put("a/b", b"here")
        local = store.local_path("a/b")
        assert local is None or (local.is_absolute() and local.read_bytes() == b"here")

    def test_pickled_store_is_small_and_equal_and_works(self, store: Store) -> None:
        store.put("a", b"1")
        copy: Store = pickle.loads(pickle.dumps(store))
        assert copy == store
        assert hash(copy) == hash(store)
        assert copy.get("a") == b"1"
        assert len(pickle.dumps(store)) < 1000

    def test_works_in_another_process(self, shared_store: Store) -> None:
        shared_store.put("a", b"from the parent")
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            assert pool.submit(_read_and_answer, shared_store).result(timeout=60) == b"from the parent"
        assert shared_store.get("answer") == b"from the child"

    def test_says_clearly_in_another_process_that_it_does_not_work_there(self) -> None:
        store = open_store("memory://somewhere")
        store.put("a", b"1")
        with (
            ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool,
            pytest.raises(SpecError, match=r"memory://somewhere#.* lives in another process") as caught,
        ):
            pool.submit(_read_and_answer, store).result(timeout=60)
        assert caught.value.hint is not None

    def test_forked_child_of_a_user_is_refused_and_the_parent_goes_on(self, store: Store) -> None:
        store.put("a", b"1")
        assert _in_forked_child(lambda: store.get("a")) == "SpecError"
        assert _in_forked_child(lambda: open_store(store.url).put("b", b"")) == "SpecError"
        assert store.get("a") == b"1"
        assert keys(store, "") == ["a"]

    def test_mistakes_carry_a_hint(self, store: Store) -> None:
        store.create("a", b"")
        with pytest.raises(ConflictError) as caught:
            store.create("a", b"")
        assert caught.value.hint is not None


def test_every_scheme_of_the_table_has_a_place_to_be_tested() -> None:
    assert set(STORES) <= {*FRESH_URLS, *SAME_AS}
    assert {STORES[alias] is STORES[scheme] for alias, scheme in SAME_AS.items()} == {True}


def _create(store: Store, key: str, racer: int, gate: Barrier) -> bool:
    gate.wait(timeout=60)
    try:
        store.create(key, str(racer).encode())
    except ConflictError:
        return False
    return True


def _race_all(environment: dict[str, str], store: Store, racer: int, rounds: int, gate: Barrier) -> list[int]:
    os.environ.update(environment)
    return [turn for turn in range(rounds) if _create(store, f"race/{turn}", racer, gate)]


def _append(environment: dict[str, str], store: Store, racer: int, count: int, gate: Barrier) -> list[AliasMove]:
    os.environ.update(environment)
    log = RecordLog(store, "aliases/prod", AliasMove)
    gate.wait(timeout=60)
    return [log.append(lambda number, writer: _move(racer, number, writer)) for _ in range(count)]


def _move(racer: int, number: int, writer: str) -> AliasMove:
    return AliasMove(name=f"racer-{racer}", alias="prod", version=1, move=number, writer=writer)


def _read_and_answer(store: Store) -> bytes:
    data = store.get("a")
    store.put("answer", b"from the child")
    return data


def _in_forked_child(work: Callable[[], object], timeout_s: float = 10) -> str:
    """The name of what `work` raised in a forked child: `nothing`, or `hung` after the time is up."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        _report_outcome(work, writer)
    os.close(writer)
    end = time.monotonic() + timeout_s
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            os.close(reader)
            return "hung"
        time.sleep(0.01)
    with os.fdopen(reader) as answer:
        return answer.read()


def _report_outcome(work: Callable[[], object], writer: int) -> None:
    outcome = "nothing"
    try:
        work()
    except BaseException as exc:  # noqa: BLE001
        outcome = type(exc).__name__
    os.write(writer, outcome.encode())
    os._exit(0)
