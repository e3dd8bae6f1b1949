"""A store behind `sftp://`, on a server of paramiko in this process: the commonest of fsspec's schemes."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import pytest

from tests.storage.test_object_store import OPERATIONS
from tradewind.errors import AuthError, ConflictError, NotFoundError, StorageError
from tradewind.records import AliasMove
from tradewind.storage import RecordLog, Store, open_store

paramiko: Any = pytest.importorskip("paramiko")
PASSWORD = "correct-horse-battery"


class Login(paramiko.ServerInterface):  # type: ignore[misc]
    def check_auth_password(self, username: str, password: str) -> int:
        return int(paramiko.AUTH_SUCCESSFUL if (username, password) == ("me", PASSWORD) else paramiko.AUTH_FAILED)

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return int(paramiko.OPEN_SUCCEEDED)


class Folder(paramiko.SFTPServerInterface):  # type: ignore[misc]
    """The files of this machine, in the words of SFTP."""

    def _tried(self, work: Callable[[], Any]) -> Any:
        try:
            given = work()
            return paramiko.SFTP_OK if given is None else given
        except OSError as exc:
            return paramiko.SFTPServer.convert_errno(exc.errno)

    def list_folder(self, path: str) -> Any:
        return self._tried(lambda: [self._described(Path(path, name)) for name in os.listdir(path)])

    def _described(self, path: Path) -> Any:
        return paramiko.SFTPAttributes.from_stat(path.stat(), path.name)

    def stat(self, path: str) -> Any:
        return self._tried(lambda: self._described(Path(path)))

    lstat = stat

    def open(self, path: str, flags: int, attr: Any) -> Any:
        def opened() -> Any:
            mode = "wb" if flags & os.O_WRONLY else "r+b" if flags & os.O_RDWR else "rb"
            handle = paramiko.SFTPHandle(flags)
            handle.filename = path
            handle.readfile = handle.writefile = os.fdopen(os.open(path, flags, 0o644), mode)
            return handle

        return self._tried(opened)

    def remove(self, path: str) -> Any:
        return self._tried(lambda: os.remove(path))

    def posix_rename(self, oldpath: str, newpath: str) -> Any:
        return self._tried(lambda: os.replace(oldpath, newpath))

    def mkdir(self, path: str, attr: Any) -> Any:
        return self._tried(lambda: os.mkdir(path))


@pytest.fixture
def port() -> Iterator[int]:
    key, stopped, transports = paramiko.RSAKey.generate(2048), threading.Event(), []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)

        def serve() -> None:
            while not stopped.is_set():
                with contextlib.suppress(TimeoutError):
                    transport = paramiko.Transport(listener.accept()[0])
                    transport.add_server_key(key)
                    transport.set_subsystem_handler("sftp", paramiko.SFTPServer, Folder)
                    transport.start_server(server=Login())
                    transports.append(transport)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        stopped.set()
        thread.join()
        for transport in transports:
            transport.close()


@pytest.fixture
def url(port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(
        fsspec.config.conf, "sftp", {"password": PASSWORD, "look_for_keys": False, "allow_agent": False}
    )
    return f"sftp://me@127.0.0.1:{port}{tmp_path}/store"


@pytest.fixture
def store(url: str) -> Store:
    return open_store(url)


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_works(store: Store, name: str) -> None:
    if name not in ("create", "put", "list", "folders", "delete"):
        store.put("a", b"123")
    OPERATIONS[name](store)


def test_objects_are_replaced_whole_listed_and_created_once(store: Store, tmp_path: Path) -> None:
    store.put("a/b", b"one")
    store.put("a/b", b"two")
    store.create("a/deep/c", b"1")
    with pytest.raises(ConflictError):
        store.create("a/deep/c", b"2")
    assert store.get("a/b") == (tmp_path / "store" / "a" / "b").read_bytes() == b"two"
    assert sorted(item.key for item in store.list("a")) == ["a/b", "a/deep/c"]
    assert [item.key for item in store.list("a", after="a/b")] == ["a/deep/c"]
    assert store.folders("a") == ["deep"]
    assert store.get_ranges("a/b", [(1, 3)]) == [b"wo"]
    assert store.head("a/b").modified_at is not None
    with pytest.raises(NotFoundError):
        store.get("a/none")


def test_racing_writers_lose_nothing(url: str) -> None:
    def append(writer: int) -> int:
        log = RecordLog(open_store(url), "aliases/prod", AliasMove)
        return log.append(lambda number, key: _move(writer, number, key)).move

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(append, range(8))) == list(range(1, 9))


def _move(writer: int, number: int, key: str) -> AliasMove:
    return AliasMove(name=f"w{writer}", alias="prod", version=1, move=number, writer=key)


def test_wrong_password_is_an_auth_error_that_does_not_repeat_it(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(fsspec.config.conf["sftp"], "password", "wrong-horse-battery")
    with pytest.raises((AuthError, StorageError)) as caught:
        store.get("a")
    assert isinstance(caught.value, AuthError)
    assert "wrong-horse" not in f"{caught.value.message} {caught.value.__cause__!r} {store!r}"
