from __future__ import annotations

import errno
import pickle
import uuid
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem

from tests.storage.test_object_store import OPERATIONS
from tradewind.errors import AuthError, CapacityError, ConflictError, SpecError, StorageError, TradewindError
from tradewind.storage import Store, open_store
from tradewind.storage.fsspec_store import UNFINISHED, FsspecStore
from tradewind.storage.probe import require_exclusive_create


class FullFile:
    """A file on a disk without room."""

    def __init__(self, file: Any) -> None:
        self.file = file

    def __enter__(self) -> FullFile:
        return self

    def __exit__(self, *args: object) -> None:
        self.file.close()

    def write(self, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


class Harbour(LocalFileSystem):  # type: ignore[misc]
    """Local files behind a scheme of its own, with failures on demand."""

    protocol = "harbour"
    failure: Exception | None = None
    failures = 0
    is_careless = False
    is_full = False

    def open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        if Harbour.failures:
            Harbour.failures -= 1
            assert Harbour.failure
            raise Harbour.failure
        file = super().open(path, mode.replace("x", "w") if Harbour.is_careless else mode, **options)
        return FullFile(file) if Harbour.is_full else file

    def ls(self, path: str, detail: bool = False, **options: Any) -> Any:
        if Harbour.failures:
            Harbour.failures -= 1
            assert Harbour.failure
            raise Harbour.failure
        return super().ls(path, detail, **options)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    fsspec.register_implementation("harbour", Harbour, clobber=True)
    monkeypatch.setattr(Harbour, "failures", 0)
    monkeypatch.setattr(Harbour, "is_careless", False)
    return open_store(f"harbour://{tmp_path}/store")


def fail(monkeypatch: pytest.MonkeyPatch, failure: Exception, times: int = 1) -> None:
    monkeypatch.setattr(Harbour, "failure", failure)
    monkeypatch.setattr(Harbour, "failures", times)


def test_protocol_of_an_installed_package_is_a_store(store: Store) -> None:
    assert isinstance(store, FsspecStore)
    assert isinstance(store, Store)
    store.put("a/b", b"1")
    assert pickle.loads(pickle.dumps(store)).get("a/b") == b"1"


def test_opening_asks_nobody() -> None:
    assert open_store("sftp://someone@host.invalid:2222/path/").url == "sftp://someone@host.invalid:2222/path"


def test_broken_connection_is_tried_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put("a", b"1")
    fail(monkeypatch, ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), times=2)
    assert store.get("a") == b"1"
    fail(monkeypatch, TimeoutError("timed out"), times=2)
    store.put("a", b"2")
    assert store.get("a") == b"2"


def test_refused_create_is_not_repeated(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody knows whether a create that broke off has made the object, so it is said and not tried again."""
    fail(monkeypatch, ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"))
    with pytest.raises(StorageError, match="a failed: ConnectionResetError"):
        store.create("a", b"1")


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (PermissionError(errno.EACCES, "Permission denied"), AuthError),
        (OSError(errno.ENOSPC, "No space left on device"), CapacityError),
        (OSError(errno.EIO, "Input/output error"), StorageError),
        (NotImplementedError("mode xb"), SpecError),
        (RuntimeError("the library says no"), StorageError),
    ],
)
def test_foreign_errors_become_ours(
    store: Store, monkeypatch: pytest.MonkeyPatch, failure: Exception, kind: type[TradewindError]
) -> None:
    fail(monkeypatch, failure)
    with pytest.raises(kind) as caught:
        store.create("a", b"1")
    assert caught.value.hint


def test_error_of_a_library_that_quotes_a_password_is_masked(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FSSPEC_SFTP_PASSWORD", "correct-horse")
    fail(monkeypatch, RuntimeError("login as harbour://me:hush@host with correct-horse failed"))
    with pytest.raises(StorageError) as caught:
        store.create("a", b"1")
    assert "hush" not in caught.value.message
    assert "correct-horse" not in caught.value.message
    assert caught.value.__cause__ is None


def test_package_that_is_missing_is_said_with_the_scheme() -> None:
    with pytest.raises((SpecError, StorageError), match=r"hdfs://host\.invalid/a/key"):
        open_store("hdfs://host.invalid/a").get("key")


def test_create_that_breaks_off_leaves_nothing_behind(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Harbour, "is_full", True)
    with pytest.raises(CapacityError):
        store.create("a", b"1")
    assert list(store.list("")) == []
    monkeypatch.setattr(Harbour, "is_full", False)
    store.create("a", b"1")


def test_tradewinds_own_scheme_is_no_store() -> None:
    with pytest.raises(SpecError, match="no store for tradewind:// URLs"):
        open_store("tradewind://name@1")


def test_put_is_seen_whole_or_not_at_all(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put("a", b"old")

    def break_off(self: FsspecStore, source: str, target: str) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(FsspecStore, "_rename", break_off)
    with pytest.raises(StorageError):
        store.put("a", b"new")
    assert store.get("a") == b"old"
    assert [path.name for path in (tmp_path / "store").iterdir()] == ["a"]


def test_unfinished_files_of_a_crash_are_not_listed(store: Store, tmp_path: Path) -> None:
    store.put("a", b"1")
    (tmp_path / "store" / f"a.{uuid.uuid4().hex}{UNFINISHED}").write_bytes(b"ha")
    assert [item.key for item in store.list("")] == ["a"]


def test_file_system_that_ignores_exclusive_creation_is_refused_for_several_writers(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_exclusive_create(store)
    monkeypatch.setattr("tradewind.storage.probe._exclusive", set())
    monkeypatch.setattr(Harbour, "is_careless", True)
    store.delete(".tradewind/probe")
    with pytest.raises(SpecError, match="lets several writers create"):
        require_exclusive_create(store)
    monkeypatch.setenv("TRADEWIND_SINGLE_WRITER", "1")
    store.create("a", b"1")
    with pytest.raises(ConflictError):
        store.create("a", b"2")
    assert store.get("a") == b"1"


def test_every_operation_works_on_memory_of_fsspec() -> None:
    """An object store behind fsspec: it does not rename, and its writes are whole by themselves."""
    store = FsspecStore(f"memory://{uuid.uuid4().hex}")
    for name in ("create", "put", "get", "stream", "get_ranges", "head", "list", "folders", "delete"):
        OPERATIONS[name](store)
    store.put("a/b/c", b"123")
    assert store.folders("a") == ["b"]
    assert [item.key for item in store.list("a")] == ["a/b/c"]
    with pytest.raises(ConflictError):
        store.create("a/b/c", b"")
