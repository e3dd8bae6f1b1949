from __future__ import annotations

import hashlib
import os
import pickle
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradewind.datasets.copies import health as health_module
from tradewind.datasets.copies import replicas as replicas_module
from tradewind.datasets.copies.budget import EgressBudget
from tradewind.datasets.copies.replicas import Replicas, Source
from tradewind.errors import (
    ArchivedError,
    AuthError,
    CapacityError,
    IntegrityError,
    QuotaError,
    SpecError,
    StorageError,
    TradewindError,
)
from tradewind.records import Place, StoredFile
from tradewind.storage import Store, open_store, put_content
from tradewind.storage.cache import Cache
from tradewind.storage.integrity import write_verified

HERE = "aws/us-east-1/us-east-1a"
NEAR, FAR, ABROAD = "aws/us-east-1", "aws/us-west-2", "gcp/us-east1"
MIB = 2**20


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADEWIND_PLACE", HERE)


@dataclass
class Harbour:
    """A store that can be told to misbehave. Counts how often it was asked."""

    store: Store
    fails: TradewindError | None = None
    fails_after: int = 10**9
    """Pieces that it gives before it fails."""
    wait: Callable[[], None] = lambda: None
    piece_bytes: int = 1000
    asked: list[str] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def stream(self, key: str) -> Iterator[bytes]:
        self.asked.append(key)
        self.wait()
        if self.fails and self.fails_after == 10**9:
            raise self.fails
        data = b"".join(self.store.stream(key))
        for number, start in enumerate(range(0, len(data), self.piece_bytes)):
            if self.fails and number >= self.fails_after:
                raise self.fails
            yield data[start : start + self.piece_bytes]

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        self.asked.append(key)
        self.wait()
        if self.fails:
            raise self.fails
        return self.store.get_ranges(key, ranges)


def harbour(**changes: Any) -> Harbour:
    return Harbour(open_store(f"memory://{uuid.uuid4().hex}"), **changes)


def fleet(*places: str, data: bytes = b"tide " * 2000) -> tuple[list[Harbour], StoredFile, list[Source]]:
    """Harbours at some places that all hold the same file."""
    harbours = [harbour() for _ in places]
    (file, *_) = [put_content(one.store, "data", data) for one in harbours]
    sources = [Source(one, Place.parse(place)) for one, place in zip(harbours, places, strict=True)]
    return harbours, file, sources


def content(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def download(origin: Replicas, file: StoredFile, folder: Path) -> bytes:
    target = folder / uuid.uuid4().hex
    origin.download(file, target, what="dataset tides@1")
    data = target.read_bytes()
    assert content(data) == file.sha256
    return data


def moved(origin: Replicas) -> dict[str, int]:
    return {item.boundary: item.num_bytes for item in origin.meter.total()}


def asked(harbours: list[Harbour]) -> list[int]:
    return [len(one.asked) for one in harbours]


class TestOrder:
    def test_copy_in_the_region_goes_before_those_elsewhere(self, tmp_path: Path) -> None:
        harbours, file, sources = fleet(ABROAD, FAR, NEAR)
        origin = Replicas(sources)
        assert len(download(origin, file, tmp_path)) == file.num_bytes
        assert asked(harbours) == [0, 0, 1]
        assert moved(origin) == {"region": file.num_bytes}

    def test_copy_in_the_zone_goes_before_one_in_the_region(self, tmp_path: Path) -> None:
        harbours, file, sources = fleet(NEAR, HERE)
        download(Replicas(sources), file, tmp_path)
        assert asked(harbours) == [0, 1]

    def test_of_distant_copies_the_cheaper_goes_first_as_long_as_nothing_was_measured(self, tmp_path: Path) -> None:
        harbours, file, sources = fleet(ABROAD, FAR)
        download(Replicas(sources), file, tmp_path)
        assert asked(harbours) == [0, 1]

    def test_of_distant_copies_the_faster_goes_first(self, tmp_path: Path) -> None:
        harbours, file, sources = fleet(ABROAD, FAR)
        origin = Replicas(sources)
        origin._health[0].succeeded(file.num_bytes, first_s=0.01, total_s=0.01)
        origin._health[1].succeeded(file.num_bytes, first_s=0.5, total_s=0.5)
        download(origin, file, tmp_path)
        assert asked(harbours) == [1, 0]

    def test_cheap_means_the_cheapest_whatever_its_speed(self, tmp_path: Path) -> None:
        harbours, file, sources = fleet(ABROAD, FAR)
        origin = Replicas(sources, prefer="cheap")
        origin._health[0].succeeded(file.num_bytes, first_s=0.01, total_s=0.01)
        origin._health[1].succeeded(file.num_bytes, first_s=0.5, total_s=0.5)
        download(origin, file, tmp_path)
        assert asked(harbours) == [0, 1]

    def test_copy_whose_place_is_not_known_goes_last_and_is_priced_as_the_dearest(self, tmp_path: Path) -> None:
        harbours, file, sources = fleet("", ABROAD)
        origin = Replicas(sources)
        download(origin, file, tmp_path)
        assert asked(harbours) == [0, 1]
        harbours[1].fails = StorageError("down")
        download(origin, file, tmp_path)
        unknown = next(item for item in origin.meter.total() if item.boundary == "unknown")
        known = next(item for item in origin.meter.total() if item.boundary == "internet")
        assert unknown.nusd > known.nusd > 0


class TestFailOver:
    @pytest.mark.parametrize(
        "error", [StorageError("no answer"), AuthError("refused"), IntegrityError("lost")], ids=lambda error: str(error)
    )
    def test_next_copy_takes_over(self, tmp_path: Path, error: TradewindError) -> None:
        harbours, file, sources = fleet(NEAR, FAR, ABROAD)
        harbours[0].fails = error
        origin = Replicas(sources)
        download(origin, file, tmp_path)
        ranges = origin.get_ranges(file, [(0, 5)], check=lambda parts: parts == [b"tide "], what="it")
        assert ranges == [b"tide "]
        assert asked(harbours) == [1, 2, 0], "a copy that has just failed is not asked first again"

    def test_copy_that_dies_in_the_middle_leaves_nothing_behind(self, tmp_path: Path) -> None:
        harbours, file, sources = fleet(NEAR, FAR)
        harbours[0].fails, harbours[0].fails_after = StorageError("died"), 4
        origin = Replicas(sources)
        download(origin, file, tmp_path)
        assert moved(origin) == {"region": 4000, "cloud": file.num_bytes}
        assert len(list(tmp_path.iterdir())) == 1

    def test_failed_copy_is_asked_again_when_it_has_cooled_down(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(health_module, "COOL_DOWN_S", 0.0)
        harbours, file, sources = fleet(NEAR, FAR)
        harbours[0].fails = StorageError("down for a moment")
        origin = Replicas(sources)
        download(origin, file, tmp_path)
        harbours[0].fails = None
        download(origin, file, tmp_path)
        assert asked(harbours) == [2, 1]

    def test_when_all_fail_each_is_named_with_its_cause(self, tmp_path: Path) -> None:
        harbours, file, sources = fleet(NEAR, FAR, ABROAD)
        harbours[0].fails = IntegrityError("it is lost")
        harbours[1].fails = StorageError("503", hint="wait")
        harbours[2].fails = AuthError("no")
        with pytest.raises(StorageError) as caught:
            download(Replicas(sources), file, tmp_path)
        message = caught.value.message
        assert message.startswith(f"dataset tides@1: none of 3 copies gave {file.key}: ")
        for one, place, cause in zip(harbours, (NEAR, FAR, ABROAD), ("it is lost", "503", "no"), strict=True):
            assert f"{one.url} ({place}): {cause}" in message
        assert caught.value.hint == "wait"
        assert type(pickle.loads(pickle.dumps(caught.value))) is StorageError

    def test_file_that_is_archived_in_every_copy_says_how_to_bring_it_back(self, tmp_path: Path) -> None:
        harbours, file, sources = fleet(NEAR, FAR)
        for one in harbours:
            one.fails = ArchivedError("in an archive")
        origin = Replicas(sources)
        for read in (
            lambda: origin.download(file, tmp_path / "target", what="dataset tides@1"),
            lambda: origin.get_ranges(file, [(0, 4)], check=lambda _: True, what="dataset tides@1"),
        ):
            with pytest.raises(ArchivedError, match="none of 2 copies gave") as caught:
                read()
            assert caught.value.hint == "bring it back first: tw datasets restore tides@1"

    @pytest.mark.parametrize("other", [IntegrityError("lost"), SpecError("no such bucket")], ids=str)
    def test_what_is_only_archived_is_not_lost(self, tmp_path: Path, other: TradewindError) -> None:
        harbours, file, sources = fleet(NEAR, FAR)
        harbours[0].fails, harbours[1].fails = ArchivedError("in an archive"), other
        with pytest.raises(ArchivedError):
            download(Replicas(sources), file, tmp_path)

    def test_copy_with_an_archived_file_goes_on_to_be_asked_first_for_others(self, tmp_path: Path) -> None:
        harbours, file, sources = fleet(NEAR, FAR)
        harbours[0].fails = ArchivedError("in an archive")
        origin = Replicas(sources)
        download(origin, file, tmp_path)
        harbours[0].fails = None
        download(origin, file, tmp_path)
        assert asked(harbours) == [2, 1]

    def test_when_all_are_damaged_the_error_says_so(self, tmp_path: Path) -> None:
        harbours, file, sources = fleet(NEAR, FAR)
        for one in harbours:
            one.store.put(file.key, b"x" * file.num_bytes)
        with pytest.raises(IntegrityError, match="none of 2 copies"):
            download(Replicas(sources), file, tmp_path)

    def test_single_copy_fails_with_its_own_words(self, tmp_path: Path) -> None:
        harbours, file, sources = fleet(NEAR)
        harbours[0].store.delete(file.key)
        with pytest.raises(IntegrityError, match=r"^dataset tides@1 has lost its file "):
            download(Replicas(sources), file, tmp_path)

    def test_full_disk_is_no_fault_of_a_copy(self, tmp_path: Path) -> None:
        harbours, file, sources = fleet(NEAR, FAR)
        with pytest.raises(CapacityError, match="no room left"):
            Replicas(sources).download(file, Path("/dev/full"), what="it")
        assert asked(harbours) == [1, 0]

    def test_fault_of_ours_is_not_hidden(self, tmp_path: Path) -> None:
        harbours, file, sources = fleet(NEAR, FAR)
        harbours[0].wait = lambda: 1 / 0  # type: ignore[assignment]
        with pytest.raises(ZeroDivisionError):
            download(Replicas(sources), file, tmp_path)


class TestLies:
    @settings(max_examples=60)
    @given(data=st.data())
    def test_wrong_bytes_never_come_out(self, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
        """Each copy is whole, flipped, cut, longer, of another version or gone; some may be nowhere whole."""
        whole = data.draw(st.binary(min_size=1, max_size=5000))
        harbours, file, sources = fleet(NEAR, FAR, ABROAD, data=whole)
        stored = []
        for one in harbours:
            lie = data.draw(st.sampled_from(("none", "flip", "cut", "longer", "other", "gone")))
            at = data.draw(st.integers(0, len(whole) - 1))
            altered = {
                "none": whole,
                "flip": whole[:at] + bytes([whole[at] ^ (1 << data.draw(st.integers(0, 7)))]) + whole[at + 1 :],
                "cut": whole[:at],
                "longer": whole + b"x",
                "other": os.urandom(len(whole)) if len(whole) > 8 else whole + whole,
            }
            if lie == "gone":
                one.store.delete(file.key)
            else:
                one.store.put(file.key, altered[lie])
            stored.append(altered.get(lie))
        origin = Replicas(sources)
        folder = tmp_path_factory.mktemp("lies")
        start = data.draw(st.integers(0, len(whole) - 1))
        wanted = whole[start : start + 100]
        for _ in range(2):
            if whole in stored:
                assert download(origin, file, folder) == whole
            else:
                with pytest.raises(IntegrityError):
                    download(origin, file, folder)
            try:
                ranges = [(start, start + len(wanted))]
                assert origin.get_ranges(file, ranges, check=lambda parts: parts == [wanted], what="it") == [wanted]
            except (IntegrityError, StorageError):
                assert all(one is None or one[start : start + 100] != wanted for one in stored)

    def test_cache_never_keeps_what_a_copy_made_up(self, tmp_path: Path) -> None:
        harbours, file, sources = fleet(NEAR, FAR)
        harbours[0].store.put(file.key, b"x" * file.num_bytes)
        cache = Cache(tmp_path / "cache", 10**9)
        with cache.open(Replicas(sources), file, what="it") as found:
            assert content(found.path.read_bytes()) == file.sha256

    def test_damaged_folder_of_this_machine_is_passed_over(self, tmp_path: Path) -> None:
        home = open_store(str(tmp_path / "home"))
        harbours, file, sources = fleet(FAR)
        put_content(home, "data", harbours[0].store.get(file.key))
        origin = Replicas([Source(home, Place.parse("local")), *sources])
        path = home.local_path(file.key)
        assert path is not None
        assert origin.local_path(file) == path
        path.write_bytes(b"x" * file.num_bytes)
        assert origin.local_path(file) is None
        with Cache(tmp_path / "cache", 10**9).open(origin, file, what="it") as found:
            assert content(found.path.read_bytes()) == file.sha256
        path.unlink()
        assert origin.local_path(file) is None

    def test_folder_alone_is_given_as_it_is(self, tmp_path: Path) -> None:
        home = open_store(str(tmp_path / "home"))
        file = StoredFile(key="data/nothing", sha256="0" * 64, num_bytes=1)
        assert Replicas([Source(home, Place.parse("local"))]).local_path(file) == tmp_path / "home" / "data" / "nothing"


class TestHedge:
    @pytest.fixture(autouse=True)
    def impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(replicas_module, "FIRST_PATIENCE_S", 0.05)

    def test_slow_copy_gets_company_and_its_bytes_are_counted(self, tmp_path: Path) -> None:
        harbours, file, sources = fleet(NEAR, FAR)
        gate = threading.Event()
        harbours[0].wait = gate.wait  # type: ignore[assignment]
        origin = Replicas(sources)
        download(origin, file, tmp_path)
        assert asked(harbours) == [1, 1]
        assert moved(origin) == {"cloud": file.num_bytes}
        gate.set()
        join_readers()
        assert moved(origin)["region"] == 1000, "the first piece that came; then it has ended"
        assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".part")] == []

    def test_target_is_the_same_file_whoever_wins(self, tmp_path: Path) -> None:
        """Others wait for it with the file open."""
        harbours, file, sources = fleet(NEAR, FAR)
        gate = threading.Event()
        harbours[0].wait = gate.wait  # type: ignore[assignment]
        target = tmp_path / "file.part"
        target.write_bytes(b"unfinished of a process that was killed")
        before = target.stat().st_ino
        Replicas(sources).download(file, target, what="it")
        assert (target.stat().st_ino, content(target.read_bytes())) == (before, file.sha256)
        gate.set()
        join_readers()
        assert content(target.read_bytes()) == file.sha256, "the one that was overtaken wrote on"

    def test_overtaken_copy_never_writes_into_the_target(self, tmp_path: Path) -> None:
        """Random delays of both, many times, at the same moment."""
        harbours, file, sources = fleet(NEAR, FAR, data=os.urandom(40_000))
        for one in harbours:
            one.wait = lambda: time.sleep(0.05 * (os.urandom(1)[0] / 255) * 2)
        origin = Replicas(sources)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: download(origin, file, tmp_path), range(60)))
        join_readers()
        assert not list(tmp_path.glob("*.part"))
        assert all(content(path.read_bytes()) == file.sha256 for path in tmp_path.iterdir())

    def test_copy_that_had_not_even_begun_does_not_empty_the_target_later(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Who has won waits for it: nobody is told that the file is whole while it may still be emptied."""
        harbours, file, sources = fleet(NEAR, FAR)
        gate, company_is_done = threading.Event(), threading.Event()

        def late(store: Any, *args: Any, **named: Any) -> None:
            is_late = store.source.store is harbours[0]
            assert not is_late or gate.wait(20)
            write_verified(store, *args, **named)
            if not is_late:
                company_is_done.set()

        monkeypatch.setattr(replicas_module, "write_verified", late)
        target = tmp_path / "target"
        with ThreadPoolExecutor(1) as pool:
            reading = pool.submit(Replicas(sources).download, file, target, what="it")
            assert company_is_done.wait(20)
            with pytest.raises(TimeoutError):
                reading.result(0.1)
            gate.set()
            reading.result(20)
            assert content(target.read_bytes()) == file.sha256
        join_readers()
        assert content(target.read_bytes()) == file.sha256

    def test_interrupted_read_writes_nothing_any_more(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        harbours, file, sources = fleet(NEAR, FAR)
        gate = threading.Event()
        for one in harbours:
            one.wait = gate.wait  # type: ignore[assignment]
        origin = Replicas(sources)

        def interrupt(*_: object) -> float:
            raise KeyboardInterrupt

        monkeypatch.setattr(origin, "_patience_s", interrupt)
        target = tmp_path / "target"
        with pytest.raises(KeyboardInterrupt):
            origin.download(file, target, what="it")
        target.write_bytes(b"of the next read")
        gate.set()
        join_readers()
        assert moved(origin) != {}
        assert target.read_bytes() == b"of the next read"

    def test_cache_that_makes_room_leaves_the_file_of_the_company_alone(self, tmp_path: Path) -> None:
        harbours, file, sources = fleet(NEAR, FAR)
        gate, left = threading.Event(), list[Path]()
        harbours[0].wait = gate.wait  # type: ignore[assignment]

        def make_room() -> None:
            Cache(tmp_path, 0)._make_room(10**9)
            left.extend(tmp_path.glob("??/*.part"))

        harbours[1].wait = make_room
        with Cache(tmp_path, 10**9).open(Replicas(sources), file, what="it") as found:
            assert content(found.path.read_bytes()) == file.sha256
        assert len(left) == 2
        gate.set()
        join_readers()
        assert list(tmp_path.glob("??/*.part")) == []

    def test_file_of_the_company_goes_with_a_process_that_was_killed(self, tmp_path: Path) -> None:
        (tmp_path / "ab").mkdir()
        path, locked = replicas_module._open_beside(tmp_path / "ab" / "target")
        room = Cache(tmp_path, 0)
        room._make_room(10**9)
        assert path.exists()
        os.close(locked)
        room._make_room(10**9)
        assert not path.exists()

    def test_large_file_that_keeps_coming_needs_no_company(self, tmp_path: Path) -> None:
        harbours, file, sources = fleet(NEAR, FAR, data=os.urandom(20_000))
        slow = sources[0].store.stream

        def trickle(key: str) -> Iterator[bytes]:
            for piece in slow(key):
                time.sleep(0.01)
                yield piece

        harbours[0].stream = trickle  # type: ignore[method-assign]
        download(Replicas(sources), file, tmp_path)
        assert asked(harbours) == [1, 0]

    def test_ranges_are_hedged_too(self) -> None:
        harbours, file, sources = fleet(NEAR, FAR)
        gate = threading.Event()
        harbours[0].wait = gate.wait  # type: ignore[assignment]
        origin = Replicas(sources)
        assert origin.get_ranges(file, [(5, 9)], check=lambda parts: parts == [b"tide"], what="it") == [b"tide"]
        gate.set()
        wait_for(lambda: moved(origin) == {"region": 4, "cloud": 4})

    def test_company_that_the_budget_does_not_cover_is_not_asked_for(self, tmp_path: Path) -> None:
        harbours, file, sources = fleet(NEAR, FAR)
        budget = EgressBudget(harbours[0].store)
        budget.set_limit(0.0)
        harbours[0].wait = lambda: time.sleep(0.3)
        origin = Replicas(sources, budget=budget)
        download(origin, file, tmp_path)
        assert asked(harbours) == [1, 0]

    def test_fast_copy_is_left_alone(self, tmp_path: Path) -> None:
        harbours, file, sources = fleet(NEAR, FAR)
        origin = Replicas(sources)
        for _ in range(30):
            download(origin, file, tmp_path)
        assert asked(harbours)[1] <= 3  # on a busy machine a thread may be late

    def test_cheap_reading_sends_no_byte_twice(self, tmp_path: Path) -> None:
        harbours, file, sources = fleet(ABROAD, FAR)
        harbours[1].wait = lambda: time.sleep(0.2)
        origin = Replicas(sources, prefer="cheap")
        download(origin, file, tmp_path)
        assert asked(harbours) == [0, 1]


class TestBudget:
    def test_read_that_would_pass_the_limit_is_not_sent(self, tmp_path: Path) -> None:
        harbours, file, sources = fleet(ABROAD)
        budget = EgressBudget(harbours[0].store)
        budget.set_limit(1e-9)
        with pytest.raises(QuotaError, match=r"reading dataset tides@1 from memory://.* would cost"):
            download(Replicas(sources, budget=budget), file, tmp_path)
        assert asked(harbours) == [0]

    def test_free_copy_is_read_when_the_budget_is_spent(self, tmp_path: Path) -> None:
        harbours, file, sources = fleet(ABROAD, NEAR)
        budget = EgressBudget(harbours[0].store)
        budget.set_limit(0.0)
        harbours[1].fails = None
        download(Replicas(sources, budget=budget), file, tmp_path)
        assert asked(harbours) == [0, 1]

    def test_only_what_came_is_spent(self, tmp_path: Path) -> None:
        harbours, file, sources = fleet(ABROAD, FAR)
        budget = EgressBudget(harbours[0].store)
        budget.set_limit(1.0)
        harbours[1].fails, harbours[1].fails_after = StorageError("died"), 2
        origin = Replicas(sources, budget=budget)
        download(origin, file, tmp_path)
        budget.close()
        account = budget.account()
        assert account is not None
        assert account.reserved_nusd == sum(item.nusd for item in origin.meter.total()) == 2000 * 20 // 1000 + 1200

    @settings(max_examples=30)
    @given(
        limit=st.integers(0, 3000),
        reads=st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(1, 9999)), min_size=1, max_size=12),
    )
    def test_bytes_that_came_never_cost_more_than_the_limit(
        self, limit: int, reads: list[tuple[bool, bool, int]], tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        folder = tmp_path_factory.mktemp("budget")
        harbours, file, sources = fleet(ABROAD, FAR)
        budget = EgressBudget(harbours[0].store)
        budget.set_limit(limit / 10**9)
        origin = Replicas(sources, budget=budget)
        for first_fails, second_fails, num_bytes in reads:
            for one, fails in zip(harbours, (first_fails, second_fails), strict=True):
                one.fails, one.fails_after = (StorageError("died") if fails else None), 3
            try:
                download(origin, file, folder)
                origin.get_ranges(file, [(0, num_bytes)], check=lambda _: True, what="it")
            except (QuotaError, StorageError):
                pass
            assert sum(item.nusd for item in origin.meter.total()) <= limit


def test_travels_to_another_process_as_what_it_was_made_of(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    file = put_content(store, "data", b"tide")
    origin = Replicas([Source(store, Place.parse(NEAR))], budget=EgressBudget(store), prefer="cheap")
    download(origin, file, tmp_path)
    copy = pickle.loads(pickle.dumps(origin))
    assert (copy.sources, copy._prefer, copy._budget) == (origin.sources, "cheap", origin._budget)
    assert copy.meter.total() == ()
    assert download(copy, file, tmp_path) == b"tide"


def test_many_threads_read_at_once(tmp_path: Path) -> None:
    _, file, sources = fleet(NEAR, FAR)
    origin = Replicas(sources)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: download(origin, file, tmp_path), range(100)))
    assert sum(moved(origin).values()) >= 100 * file.num_bytes


def join_readers() -> None:
    """Wait until every attempt has ended, those that were overtaken too."""
    for thread in threading.enumerate():
        if thread.name == "tradewind-read":
            thread.join(20)
            assert not thread.is_alive()


def wait_for(holds: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)
