"""The real S3 server that tests and benchmarks start. Those that need Ceph are left out where it is missing."""

from __future__ import annotations

import http.client
import os
from collections.abc import Iterator
from pathlib import Path

import obstore
import pytest
from obstore.exceptions import AlreadyExistsError
from obstore.store import S3Store

from tradewind.errors import CapacityError, NotFoundError, StorageError
from tradewind.testing.rgw import INSTALL, Rgw, rgw_available, start_rgw

needs_ceph = pytest.mark.skipif(not rgw_available(), reason=f"needs Ceph: {INSTALL}")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rgw]:
    with start_rgw(tmp_path_factory.mktemp("a-folder-with-a-long-name" * 4)) as running:
        yield running


def store(server: Rgw, bucket: str) -> S3Store:
    return S3Store(
        bucket,
        endpoint=server.endpoint,
        access_key_id=server.access_key,
        secret_access_key=server.secret_key,
        region="us-east-1",
        client_options={"allow_http": True},
    )


@needs_ceph
def test_objects_can_be_written_once_and_read(server: Rgw) -> None:
    server.make_bucket("tradewind")
    server.make_bucket("tradewind")
    bucket = store(server, "tradewind")
    obstore.put(bucket, "a/b", b"0123456789", mode="create")
    with pytest.raises(AlreadyExistsError):
        obstore.put(bucket, "a/b", b"other", mode="create")
    assert bytes(obstore.get_range(bucket, "a/b", start=2, end=5)) == b"234"


@needs_ceph
def test_wrong_key_is_refused(server: Rgw) -> None:
    stranger = Rgw(server.endpoint, server.access_key, "wrong")
    with pytest.raises(StorageError, match="403"):
        stranger.make_bucket("stranger")


@needs_ceph
def test_two_servers_run_side_by_side_and_end_alone(server: Rgw, tmp_path: Path) -> None:
    with start_rgw(tmp_path) as other:
        assert other.endpoint != server.endpoint
        assert answers(other)
    assert not answers(other)
    assert answers(server)


@needs_ceph
def test_daemon_that_ends_is_told_with_its_last_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "bin" / "ceph-osd"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\necho the disk is on fire\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{broken.parent}:{os.environ['PATH']}")
    with pytest.raises(CapacityError, match=r"(?s)ceph-osd ended with 3:.*the disk is on fire"), start_rgw(tmp_path):
        pass


def test_missing_programs_are_told_with_the_command_that_installs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert not rgw_available()
    with pytest.raises(NotFoundError, match="radosgw") as caught, start_rgw():
        pass
    assert caught.value.hint == INSTALL


def answers(server: Rgw) -> bool:
    connection = http.client.HTTPConnection(server.endpoint.removeprefix("http://"), timeout=5)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == http.client.OK
    except ConnectionRefusedError:
        return False
    finally:
        connection.close()
