from __future__ import annotations

import multiprocessing
import threading
import uuid
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tradewind.errors import ConflictError, IntegrityError, NotFoundError
from tradewind.records import AliasMove
from tradewind.storage import RecordLog, Store, open_store
from tradewind.storage.object_store import ObjectStore


def log_in(store: Store, prefix: str = "aliases/prod") -> RecordLog[AliasMove]:
    return RecordLog(store, prefix, AliasMove)


def append(log: RecordLog[AliasMove], name: str = "pilot") -> AliasMove:
    return log.append(lambda number, writer: AliasMove(name=name, alias="prod", version=1, move=number, writer=writer))


@pytest.fixture(params=["folder", "memory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "folder":
        return open_store(str(tmp_path / "store"))
    if request.param == "memory":
        return open_store(f"memory://{uuid.uuid4().hex}")
    return open_store(f"{request.getfixturevalue('moto_s3')}/{uuid.uuid4().hex}")


@pytest.fixture
def log(tmp_path: Path) -> RecordLog[AliasMove]:
    return log_in(open_store(str(tmp_path / "store")))


def test_empty_log_has_no_numbers_and_no_latest(log: RecordLog[AliasMove]) -> None:
    assert log.numbers() == []
    assert list(log.all()) == []
    with pytest.raises(NotFoundError, match=r"nothing is recorded at .*/aliases/prod"):
        log.latest()


def test_appended_records_are_numbered_from_one_and_read_back(log: RecordLog[AliasMove]) -> None:
    written = [append(log, name) for name in ("a", "b", "c")]
    assert [record.move for record in written] == [1, 2, 3]
    assert log.numbers() == [1, 2, 3]
    assert list(log.all()) == written
    assert log.latest() == log.read(3) == written[2]


def test_numbers_after_one_are_those_above_it(log: RecordLog[AliasMove]) -> None:
    for _ in range(4):
        append(log)
    assert [log.numbers(after=number) for number in (0, 2, 4, 9)] == [[1, 2, 3, 4], [3, 4], [], []]
    assert log.store.get(log.key(3)) == log.read(3).to_json()


def test_records_are_read_several_at_once(log: RecordLog[AliasMove], monkeypatch: pytest.MonkeyPatch) -> None:
    written = [append(log, name) for name in "abcd"]
    together, get = threading.Barrier(4, timeout=20), type(log.store).get

    def meet(self: Store, key: str) -> bytes:
        together.wait()
        return get(self, key)

    monkeypatch.setattr(type(log.store), "get", meet)
    assert list(log.all()) == written


def test_ten_comes_after_nine(log: RecordLog[AliasMove]) -> None:
    for _ in range(11):
        append(log)
    assert log.numbers() == list(range(1, 12))
    assert log.latest().move == 11


def test_number_that_was_never_written_is_not_found(log: RecordLog[AliasMove]) -> None:
    append(log)
    with pytest.raises(NotFoundError, match="000000000002"):
        log.read(2)


def test_sixteen_racing_threads_lose_nothing(store: Store) -> None:
    log = log_in(store)
    with ThreadPoolExecutor(16) as pool:
        written = [race.result() for race in [pool.submit(append, log, f"w{racer}") for racer in range(16)]]
    assert sorted(record.move for record in written) == log.numbers() == list(range(1, 17))
    assert sorted(record.writer for record in written) == sorted(record.writer for record in log.all())
    assert {log.read(record.move) == record for record in written} == {True}


def test_racing_processes_lose_nothing(tmp_path: Path) -> None:
    log = log_in(open_store(str(tmp_path / "store")))
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("spawn")) as pool:
        races = [pool.submit(_append_many, log, f"w{racer}", 12) for racer in range(4)]
        written = [move for race in races for move in race.result(timeout=120)]
    assert sorted(written) == log.numbers() == list(range(1, 49))


def _append_many(log: RecordLog[AliasMove], name: str, count: int) -> list[int]:
    return [append(log, name).move for _ in range(count)]


def test_writer_that_loses_a_race_takes_the_next_number(log: RecordLog[AliasMove]) -> None:
    seen: list[int] = []

    def slow(number: int, writer: str) -> AliasMove:
        if not seen:
            append(log, "faster")
        seen.append(number)
        return AliasMove(name="slow", alias="prod", version=1, move=number, writer=writer)

    assert log.append(slow).move == 2
    assert seen == [1, 2]
    assert [record.name for record in log.all()] == ["faster", "slow"]


def test_writer_that_always_loses_gives_up_and_says_so(
    log: RecordLog[AliasMove], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tradewind.storage.log.ATTEMPTS", 5)

    def always_late(number: int, writer: str) -> AliasMove:
        log.store.create(f"{log.prefix}/{number:012d}.json", b"faster")
        return AliasMove(name="late", alias="prod", version=1, move=number, writer=writer)

    with pytest.raises(ConflictError, match="5 other writers were faster"):
        log.append(always_late)
    assert log.numbers() == [1, 2, 3, 4, 5]


@dataclass(frozen=True)
class ForgetfulStore(ObjectStore):
    """Writes, but answers the first time as if another had: what a retried request after a lost answer looks like."""

    forgot: list[str] = field(default_factory=list, compare=False)

    def create(self, key: str, data: bytes) -> None:
        super().create(key, data)
        if not self.forgot:
            self.forgot.append(key)
            raise ConflictError("it exists already")


def test_own_first_try_that_a_retry_finds_counts_as_won(tmp_path: Path) -> None:
    plain = open_store(str(tmp_path / "store"))
    assert isinstance(plain, ObjectStore)
    log = log_in(ForgetfulStore(plain.url, plain.open_native, plain.folder))
    assert append(log).move == 1
    assert log.numbers() == [1]


def test_damaged_record_is_an_integrity_error_that_names_it(log: RecordLog[AliasMove]) -> None:
    append(log)
    log.store.put("aliases/prod/000000000001.json", b'{"name": "pi')
    with pytest.raises(IntegrityError, match=r"aliases/prod/000000000001\.json is not a whole alias record"):
        log.latest()


def test_logs_below_a_log_and_foreign_files_do_not_count(log: RecordLog[AliasMove]) -> None:
    append(log)
    append(log_in(log.store, "aliases/prod/inner"))
    append(log_in(log.store, "aliases/production"))
    for name in ("notes.json", "000000000007.json.bak", "7.json", "README", ".000000000008.json"):
        log.store.put(f"aliases/prod/{name}", b"")
    assert log.numbers() == [1]
    assert append(log).move == 2


def test_leftovers_of_a_crashed_writer_are_harmless(log: RecordLog[AliasMove], tmp_path: Path) -> None:
    append(log)
    folder = tmp_path / "store" / "aliases" / "prod"
    (folder / "000000000002.json#1").write_bytes(b'{"name": "ha')
    (folder / "000000000002.json#2").write_bytes(b"")
    assert log.numbers() == [1]
    assert append(log).move == 2
    assert [record.move for record in log.all()] == [1, 2]
