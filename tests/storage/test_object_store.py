"""How foreign errors read when they reach people."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.conftest import ACCESS_KEY_ID, SECRET_ACCESS_KEY, free_port
from tradewind.errors import AuthError, CapacityError, NotFoundError, SpecError, StorageError, TradewindError
from tradewind.storage import Store, fetch_content, open_store, put_content
from tradewind.storage.cache import Cache

NOBODY = 65534
SESSION_TOKEN = "FwoGZXIvYXdzEXAMPLE"

OPERATIONS: dict[str, Callable[[Store], object]] = {
    "get": lambda store: store.get("a"),
    "stream": lambda store: list(store.stream("a")),
    "get_ranges": lambda store: store.get_ranges("a", [(0, 1)]),
    "put": lambda store: store.put("a", b"1"),
    "create": lambda store: store.create("a", b"1"),
    "list": lambda store: list(store.list("a")),
    "folders": lambda store: store.folders("a"),
    "head": lambda store: store.head("a"),
    "delete": lambda store: store.delete("a"),
}

each_operation = pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)


@each_operation
def test_unreachable_endpoint_is_a_storage_error(
    moto_s3: str, monkeypatch: pytest.MonkeyPatch, operation: Callable[[Store], object]
) -> None:
    monkeypatch.setattr("tradewind.storage.patience.FIRST_PAUSE_S", 0.001)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(StorageError, match=f"{moto_s3}/a failed: ") as caught:
        operation(open_store(moto_s3))
    assert caught.value.hint == "check that the store is reachable, then try again"
    assert caught.value.remedy == "retry"


def test_unreachable_endpoint_is_told_within_seconds(moto_s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    began = time.monotonic()
    with pytest.raises(StorageError):
        open_store(moto_s3).get("a")
    assert time.monotonic() - began < 20


@pytest.mark.usefixtures("moto_s3")
@pytest.mark.parametrize("name", [name for name in OPERATIONS if name != "head"])
def test_missing_bucket_is_named_as_such(name: str) -> None:
    with pytest.raises(SpecError, match=r"there is no bucket for s3://no-such-bucket/deep") as caught:
        OPERATIONS[name](open_store("s3://no-such-bucket/deep"))
    assert caught.value.hint == "create it, or correct the URL"


@contextmanager
def server_that_answers(status: int, body: str) -> Iterator[str]:
    class Answer(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(b"" if self.command == "HEAD" else body.encode())

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = answer  # noqa: N815

        def log_message(self, *args: object) -> None:
            """Stay silent."""

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("name", ["get", "put", "create", "list", "get_ranges"])
@pytest.mark.parametrize(("status", "code"), [(403, "InvalidAccessKeyId"), (400, "ExpiredToken")])
def test_refused_credentials_are_not_repeated(
    moto_s3: str, monkeypatch: pytest.MonkeyPatch, status: int, code: str, name: str
) -> None:
    body = (
        f'<?xml version="1.0"?>\n<Error><Code>{code}</Code><Message>It was refused.</Message>'
        f"<AWSAccessKeyId>{ACCESS_KEY_ID}</AWSAccessKeyId><Token-0>{SESSION_TOKEN}</Token-0></Error>"
    )
    monkeypatch.setenv("AWS_SESSION_TOKEN", SESSION_TOKEN)
    with server_that_answers(status, body) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        with pytest.raises((AuthError, StorageError), match=f"{code}: It was refused") as caught:
            OPERATIONS[name](open_store(moto_s3))
    assert isinstance(caught.value, AuthError) == (status == 403)
    said = f"{caught.value.message} {caught.value.hint} {caught.value.to_dict()}"
    for secret in (ACCESS_KEY_ID, SECRET_ACCESS_KEY, SESSION_TOKEN):
        assert secret not in said


def test_overloaded_server_is_a_storage_error_that_may_be_retried(
    moto_s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tradewind.storage.patience.FIRST_PAUSE_S", 0.001)
    with server_that_answers(
        503, "<Error><Code>SlowDown</Code><Message>Reduce your rate.</Message></Error>"
    ) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        with pytest.raises(StorageError, match="SlowDown: Reduce your rate") as caught:
            open_store(moto_s3).get("a")
    assert caught.value.remedy == "retry"


def test_message_is_one_short_line(moto_s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with server_that_answers(400, "<html>" + "<p>long\n" * 1000 + "</html>") as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        with pytest.raises(StorageError) as caught:
            open_store(moto_s3).get("a")
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 500


def test_missing_credentials_are_an_auth_error_that_says_what_to_set(
    moto_s3: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(AuthError, match="no AWS credentials were found") as caught:
        open_store(moto_s3).get("a")
    assert "AWS_ACCESS_KEY_ID" in str(caught.value.hint)


def test_profile_that_does_not_exist_is_an_auth_error(moto_s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_PROFILE", "no-such-profile")
    with pytest.raises(AuthError):
        open_store(moto_s3).get("a")


def test_folder_of_somebody_else_is_an_auth_error() -> None:
    """In a process of its own, which gives up being root where the tests run as root."""
    with tempfile.TemporaryDirectory() as scratch:
        locked = Path(scratch, "locked")
        locked.mkdir()
        (locked / "a").write_bytes(b"1")
        Path(scratch).chmod(0o755)
        (locked / "a").chmod(0)
        locked.chmod(0o000)
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            answers = pool.submit(_try_without_rights, locked).result(timeout=60)
        locked.chmod(0o700)
    assert answers.keys() == OPERATIONS.keys()
    for name, answer in answers.items():
        assert "AuthError" in answer, f"{name}: {answer}"
        assert "is refused" in answer, f"{name}: {answer}"


def _try_without_rights(folder: Path) -> dict[str, str]:
    import obstore  # noqa: F401 - before the rights to read its files are gone

    store = open_store(str(folder))
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    return {name: _raised_by(work, store) for name, work in OPERATIONS.items()}


def _raised_by(work: Callable[[Store], object], store: Store) -> str:
    try:
        work(store)
    except Exception as exc:  # noqa: BLE001
        return traceback.format_exception_only(exc)[0]
    return "nothing"


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], check=True)
    yield disk
    subprocess.run(["umount", disk], check=True)


@pytest.mark.lab
def test_full_disk_is_a_capacity_error_and_nothing_half_is_visible(tiny_disk: Path) -> None:
    store = open_store(str(tiny_disk / "store"))
    store.put("a", b"old")
    for key, write in (("a", store.put), ("b", store.put), ("c", store.create)):
        with pytest.raises(CapacityError, match="no room left to write") as caught:
            write(key, b"x" * 2**21)
        assert "free some space" in str(caught.value.hint)
    assert store.get("a") == b"old"
    assert [item.key for item in store.list("")] == ["a"]
    with pytest.raises(NotFoundError):
        store.head("b")
    store.put("small", b"still fits")
    assert store.get("small") == b"still fits"


@pytest.mark.lab
def test_full_cache_is_a_capacity_error_and_keeps_no_part(tiny_disk: Path) -> None:
    store = open_store("memory://full-cache")
    file = put_content(store, "shards", b"x" * 2**21)
    with pytest.raises(CapacityError, match="no room left"):
        fetch_content(store, file, what="dataset", cache=Cache(tiny_disk, 10**9))
    assert [path for path in tiny_disk.rglob("*") if path.is_file()] == []


@pytest.mark.lab
def test_read_only_disk_is_an_auth_error(tiny_disk: Path) -> None:
    store = open_store(str(tiny_disk / "store"))
    store.put("a", b"1")
    subprocess.run(["mount", "-o", "remount,ro", tiny_disk], check=True)
    assert store.get("a") == b"1"
    for write in (store.put, store.create):
        with pytest.raises(AuthError, match="is refused"):
            write("b", b"2")


def test_every_operation_is_tried_here() -> None:
    public = {name for name in vars(Store) if not name.startswith("_")}
    assert public - set(OPERATIONS) == {"url", "local_path"}
    assert issubclass(StorageError, TradewindError)
