"""What happens to each verb when requests fail, and that a create knows exactly whether it has won."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.storage.test_object_store import OPERATIONS
from tradewind.errors import ConflictError, StorageError
from tradewind.storage import Store, open_store
from tradewind.storage.object_store import ObjectStore
from tradewind.testing.faults import PASSING, Fault, FaultProxy
from tradewind.testing.gcs import Gcs

MIB = 2**20
AMBIGUOUS: tuple[Fault, ...] = ("lost", "lost-500")
each_ambiguity = pytest.mark.parametrize("fault", AMBIGUOUS)


def writes(proxy: FaultProxy) -> int:
    return sum(method == "PUT" for method, _ in proxy.requests)


def reads(proxy: FaultProxy) -> int:
    return sum(method == "GET" for method, _ in proxy.requests)


@pytest.mark.parametrize("fault", PASSING)
@pytest.mark.parametrize("name", OPERATIONS)
def test_every_verb_outlives_every_passing_fault(remote: Store, proxy: FaultProxy, name: str, fault: Fault) -> None:
    if name != "create":
        remote.put("a", b"12345")
        remote.put("a/b/c", b"12345")
    proxy.inject(fault)
    given = OPERATIONS[name](remote)
    expected = {"get": b"12345", "stream": [b"12345"], "get_ranges": [b"1"], "folders": ["b"]}
    assert given == expected.get(name, given)
    assert proxy.seen[fault] == 1
    if name == "create":
        assert remote.get("a") == b"1"


@pytest.mark.parametrize("fault", ["500", "503", "429", "409", "reset"])
def test_failure_that_does_not_pass_ends_within_the_bound_and_names_its_cause(
    remote: Store, proxy: FaultProxy, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tradewind.storage.patience.FIRST_PAUSE_S", 0.001)
    for operate in OPERATIONS.values():
        proxy.requests.clear()
        proxy.inject(fault, times=40)
        with pytest.raises(StorageError, match=r"gs://harbour/deep/a failed: .*(500|503|429|409|sending request)"):
            operate(remote)
        assert len(proxy.requests) <= 20
        proxy._injected.clear()


def test_no_try_begins_after_the_time_is_up(remote: Store, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tradewind.storage.patience.TRY_FOR_S", 0.5)
    monkeypatch.setattr("tradewind.storage.patience.TRIES", 10**6)
    monkeypatch.setattr("tradewind.storage.patience.LONGEST_PAUSE_S", 0.1)
    proxy.inject("503", times=10**4)
    began = time.monotonic()
    with pytest.raises(StorageError, match="SlowDown"):
        remote.get("a")
    assert time.monotonic() - began < 2


def test_answer_that_does_not_come_is_asked_again(
    remote: Store, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote.put("a", b"12345")
    monkeypatch.setattr("tradewind.storage.object_store.STALLED_S", 0.3)
    object.__setattr__(proxy.plan, "slow_s", 1.0)
    patient = open_store(remote.url)
    proxy.inject("slow")
    assert patient.get("a") == b"12345"
    proxy.inject("slow")
    patient.create("b", b"1")
    assert patient.get("b") == b"1"


@each_ambiguity
def test_create_whose_answer_was_lost_has_won(remote: Store, proxy: FaultProxy, fault: Fault) -> None:
    proxy.inject(fault)
    remote.create("a", b"mine")
    assert remote.get("a") == b"mine"
    assert writes(proxy) == 1
    with pytest.raises(ConflictError):
        remote.create("a", b"mine")


@pytest.mark.parametrize("fault", ["reset", "500", "503", "lost", "lost-500"])
@pytest.mark.parametrize("theirs", [b"theirs", b"mine"])
def test_create_that_fails_where_another_was_faster_has_lost(
    remote: Store, proxy: FaultProxy, fault: Fault, theirs: bytes
) -> None:
    """Also when both wrote the same bytes."""
    remote.create("a", theirs)
    proxy.inject(fault)
    with pytest.raises(ConflictError, match="a exists already"):
        remote.create("a", b"mine")
    assert remote.get("a") == theirs


def test_create_finds_its_own_write_that_was_applied_late(
    remote: Store, proxy: FaultProxy, gcs: Gcs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first try is lost and applied only after the object was looked for, just before the second try."""
    assert isinstance(remote, ObjectStore)
    seen: list[str] = []
    real = ObjectStore._is_ours

    def look(self: ObjectStore, key: str, data: bytes, mark: str) -> bool | None:
        seen.append(mark)
        if len(seen) == 1:
            self._put_if_absent(key, data, mark)
            return None
        return real(self, key, data, mark)

    monkeypatch.setattr(ObjectStore, "_is_ours", look)
    proxy.inject("500")
    remote.create("a", b"mine")
    assert remote.get("a") == b"mine"
    assert len(seen) == 2


def test_create_that_nobody_applied_is_tried_again(remote: Store, proxy: FaultProxy) -> None:
    proxy.inject("reset", times=2)
    remote.create("a", b"mine")
    assert remote.get("a") == b"mine"


def test_create_takes_a_conflict_of_requests_for_no_answer(remote: Store, proxy: FaultProxy) -> None:
    """A 409 says that others write now, and that nothing was done: there is nothing to look for."""
    proxy.inject("409", times=3, when=lambda method, _: method == "PUT")
    remote.create("a", b"mine")
    assert (writes(proxy), reads(proxy)) == (4, 0)


def test_create_after_a_conflict_of_requests_may_still_lose(remote: Store, proxy: FaultProxy) -> None:
    remote.put("a", b"mine")
    proxy.inject("409")
    with pytest.raises(ConflictError):
        remote.create("a", b"mine")


def test_create_that_loses_at_once_reads_nothing(remote: Store, proxy: FaultProxy) -> None:
    remote.create("a", b"mine")
    with pytest.raises(ConflictError):
        remote.create("a", b"mine")
    assert (writes(proxy), reads(proxy)) == (2, 0)


def test_stream_that_breaks_off_goes_on_where_it_did(remote: Store, proxy: FaultProxy) -> None:
    data = os.urandom(5 * MIB)
    remote.put("a", data)
    proxy.inject("truncated", times=3, when=lambda method, _: method == "GET")
    assert b"".join(remote.stream("a")) == data
    assert proxy.seen["truncated"] == 3


def test_stream_of_an_object_that_was_replaced_is_refused(remote: Store, proxy: FaultProxy) -> None:
    remote.put("a", b"1" * 5 * MIB)
    proxy.inject("truncated", when=lambda method, _: method == "GET")
    stream = remote.stream("a")
    next(stream)
    remote.put("a", b"2" * 5 * MIB)
    with pytest.raises(StorageError, match="was replaced while it was read"):
        list(stream)


@pytest.mark.parametrize("fault", ["500", "reset", "lost", "lost-500", "truncated", "409"])
@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_upload_in_parts_outlives_faults(
    remote: Store, proxy: FaultProxy, tmp_path: Path, fault: Fault, method: str
) -> None:
    """`POST` begins and completes an upload; once the second one's answer is lost, the upload is unknown."""
    source = tmp_path / "source"
    source.write_bytes(os.urandom(17 * MIB))
    proxy.inject(fault, when=lambda verb, path: verb == method and ("uploadId" in path or method == "PUT"))
    remote.put("a", source)
    assert remote.get("a") == source.read_bytes()
    assert proxy.seen[fault] == 1


def test_listing_that_breaks_between_pages_gives_each_key_once(
    remote: Store, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tradewind.storage.object_store.LIST_CHUNK", 10)
    for number in range(35):
        remote.put(f"many/{number:02d}", b"")
    proxy.inject("503", times=2, when=lambda _, path: "continuation-token" in path)
    proxy.inject("truncated", when=lambda _, path: "start-after" in path)
    assert [item.key for item in remote.list("many")] == [f"many/{number:02d}" for number in range(35)]
    assert (proxy.seen["503"], proxy.seen["truncated"]) == (2, 1)


def test_later_keys_are_asked_for_and_not_filtered_here(remote: Store, proxy: FaultProxy) -> None:
    for number in range(35):
        remote.put(f"many/{number:02d}", b"")
    proxy.requests.clear()
    assert [item.key for item in remote.list("many", after="many/32")] == ["many/33", "many/34"]
    assert len(proxy.requests) == 1


def test_local_failures_are_not_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(str(tmp_path / "timed out"))
    monkeypatch.setattr("tradewind.storage.patience.time.sleep", _never)
    store.create("slowdown", b"")
    with pytest.raises(ConflictError):
        store.create("slowdown", b"")


def _never(seconds: float) -> None:
    raise AssertionError(f"waited {seconds} s")


def test_operations_are_those_of_the_protocol() -> None:
    operations: dict[str, Callable[[Store], object]] = OPERATIONS
    assert {"stream", "folders", "create"} <= operations.keys()
