from __future__ import annotations

from pathlib import Path

import pytest

from tradewind.errors import ConflictError, SpecError, StorageError
from tradewind.records import AliasMove
from tradewind.storage import RecordLog, Store, open_store, probe
from tradewind.storage.probe import KEY, require_exclusive_create
from tradewind.testing.faults import FaultProxy
from tradewind.testing.gcs import Gcs
from tradewind.testing.gcs_buckets import Conditions


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_exclusive", set())


@pytest.fixture
def careless(remote: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A server that takes conditions and ignores them, as s3rver and gcp-storage-emulator do."""
    monkeypatch.setattr(Conditions, "check", lambda _conditions, _blob: None)
    return remote


def append(store: Store) -> AliasMove:
    log = RecordLog(store, "aliases/prod", AliasMove)
    return log.append(lambda number, writer: AliasMove(name="a", alias="prod", version=1, move=number, writer=writer))


def test_honest_store_is_asked_twice_at_first_and_once_by_later_processes(remote: Store, proxy: FaultProxy) -> None:
    require_exclusive_create(remote)
    assert len(proxy.requests) == 2
    require_exclusive_create(remote)
    assert len(proxy.requests) == 2
    probe._exclusive.clear()
    require_exclusive_create(remote)
    assert len(proxy.requests) == 3


def test_folders_and_memory_are_known(tmp_path: Path) -> None:
    for url in (str(tmp_path / "store"), "memory://probe"):
        store = open_store(url)
        require_exclusive_create(store)
        assert list(store.list("")) == []


def test_store_that_lets_several_win_is_refused_and_says_what_to_do(careless: Store) -> None:
    with pytest.raises(SpecError, match="lets several writers create the same object") as caught:
        append(careless)
    assert "TRADEWIND_SINGLE_WRITER=1" in str(caught.value.hint)
    assert [item.key for item in careless.list("aliases")] == []
    with pytest.raises(SpecError):
        append(careless)


def test_one_declared_writer_may_use_it(careless: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADEWIND_SINGLE_WRITER", "1")
    assert [append(careless).move for _ in range(3)] == [1, 2, 3]
    with pytest.raises(ConflictError, match="exists already"):
        careless.create("aliases/prod/000000000001.json", b"again")
    assert careless.get("aliases/prod/000000000001.json") != b"again"


def test_one_declared_writer_may_use_a_server_without_conditions(
    remote: Store, gcs: Gcs, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tradewind.testing.gcs_buckets import Refusal

    def refuse(conditions: Conditions, _blob: object) -> None:
        if conditions.generation is not None:
            raise Refusal(501, "NotImplemented", "A header you provided implies functionality that is not implemented.")

    monkeypatch.setattr(Conditions, "check", refuse)
    with pytest.raises(SpecError, match="lets several writers create the same object"):
        remote.create("a", b"1")
    monkeypatch.setenv("TRADEWIND_SINGLE_WRITER", "1")
    remote.create("a", b"1")
    assert remote.get("a") == b"1"
    with pytest.raises(ConflictError):
        remote.create("a", b"2")


def test_declaration_that_is_neither_yes_nor_no_is_refused(remote: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADEWIND_SINGLE_WRITER", "yes")
    with pytest.raises(SpecError, match="TRADEWIND_SINGLE_WRITER is 'yes'"):
        append(remote)


def test_declaration_changes_nothing_for_stores_that_are_exact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADEWIND_SINGLE_WRITER", "1")
    store = open_store(str(tmp_path / "store"))
    store.create("a", b"1")
    with pytest.raises(ConflictError):
        store.create("a", b"2")


def test_store_that_does_not_answer_is_not_taken_for_known(
    remote: Store, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tradewind.storage.patience.FIRST_PAUSE_S", 0.001)
    proxy.inject("500", times=30)
    with pytest.raises(StorageError, match=KEY):
        require_exclusive_create(remote)
    assert remote.url not in probe._exclusive
