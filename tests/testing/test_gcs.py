"""The stand-in for Google Cloud Storage, spoken to as obstore, google-cloud-storage and gcsfs do."""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from tradewind.testing.gcs import Gcs, start_gcs
from tradewind.testing.gcs_buckets import _slow_crc32c, crc32c

Asked = tuple[int, dict[str, str], bytes]


@pytest.fixture(scope="module")
def server() -> Iterator[Gcs]:
    with start_gcs("harbour", page_size=3) as running:
        yield running


def ask(server: Gcs, method: str, path: str, body: bytes = b"", **headers: str) -> Asked:
    connection = http.client.HTTPConnection(urlsplit(server.endpoint).netloc, timeout=10)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def ask_json(server: Gcs, method: str, path: str, content: object = None, **headers: str) -> tuple[int, Any]:
    body = json.dumps(content).encode() if content is not None else b""
    status, _, answer = ask(server, method, path, body, **headers)
    return status, json.loads(answer) if answer else None


class TestXml:
    def test_object_has_generation_etag_and_time(self, server: Gcs) -> None:
        status, put, _ = ask(server, "PUT", "/harbour/a%20b", b"12345", Content_Type="text/plain")
        assert status == 200
        status, got, body = ask(server, "GET", "/harbour/a%20b")
        assert (status, body, got["content-type"]) == (200, b"12345", "text/plain")
        assert got["etag"] == put["etag"] == '"827ccb0eea8a706c4c34a16891f84e7b"'
        assert int(got["x-goog-generation"]) == int(put["x-goog-generation"]) > 0
        assert got["last-modified"].endswith("GMT")
        _, again, _ = ask(server, "PUT", "/harbour/a%20b", b"12345")
        assert int(again["x-goog-generation"]) > int(put["x-goog-generation"])

    @pytest.mark.parametrize(
        ("span", "status", "body"),
        [
            ("bytes=0-1", 206, b"01"),
            ("bytes=7-", 206, b"789"),
            ("bytes=-2", 206, b"89"),
            ("bytes=8-100", 206, b"89"),
            ("bytes=10-12", 416, b""),
        ],
    )
    def test_ranges(self, server: Gcs, span: str, status: int, body: bytes) -> None:
        ask(server, "PUT", "/harbour/digits", b"0123456789")
        found, headers, data = ask(server, "GET", "/harbour/digits", Range=span)
        assert found == status
        if status == 206:
            assert data == body
            assert headers["content-range"].endswith("/10")

    def test_conditions_on_generations(self, server: Gcs) -> None:
        created, headers, _ = ask(server, "PUT", "/harbour/once", b"1", x_goog_if_generation_match="0")
        assert created == 200
        assert ask(server, "PUT", "/harbour/once", b"2", x_goog_if_generation_match="0")[0] == 412
        generation = headers["x-goog-generation"]
        assert ask(server, "PUT", "/harbour/once", b"3", x_goog_if_generation_match=generation)[0] == 200
        assert ask(server, "PUT", "/harbour/once", b"4", x_goog_if_generation_match=generation)[0] == 412
        assert ask(server, "DELETE", "/harbour/once", x_goog_if_generation_match=generation)[0] == 412
        assert ask(server, "GET", "/harbour/once")[2] == b"3"

    def test_of_racing_creators_one_wins(self, server: Gcs) -> None:
        def create(number: int) -> int:
            return ask(server, "PUT", "/harbour/race", str(number).encode(), x_goog_if_generation_match="0")[0]

        with ThreadPoolExecutor(16) as pool:
            assert sorted(pool.map(create, range(16))) == [200] + [412] * 15

    def test_missing_object_and_missing_bucket_have_different_names(self, server: Gcs) -> None:
        status, _, body = ask(server, "GET", "/harbour/none")
        assert (status, b"<Code>NoSuchKey</Code>" in body) == (404, True)
        status, _, body = ask(server, "GET", "/no-such-bucket/none")
        assert (status, b"<Code>NoSuchBucket</Code>" in body) == (404, True)

    def test_upload_in_parts_is_seen_when_it_is_complete(self, server: Gcs) -> None:
        _, _, begun = ask(server, "POST", "/harbour/parts?uploads", x_goog_storage_class="NEARLINE")
        upload = begun.decode().partition("<UploadId>")[2].partition("<")[0]
        for number in (2, 1):
            ask(server, "PUT", f"/harbour/parts?partNumber={number}&uploadId={upload}", f"part {number};".encode())
        assert ask(server, "GET", "/harbour/parts")[0] == 404
        parts = "".join(f"<Part><PartNumber>{number}</PartNumber><ETag>x</ETag></Part>" for number in (1, 2))
        complete = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()
        assert ask(server, "POST", f"/harbour/parts?uploadId={upload}", complete)[0] == 200
        _, headers, body = ask(server, "GET", "/harbour/parts")
        assert (body, headers["x-goog-storage-class"]) == (b"part 1;part 2;", "NEARLINE")
        assert ask(server, "POST", f"/harbour/parts?uploadId={upload}", complete)[0] == 404

    def test_copy_may_change_the_storage_class(self, server: Gcs) -> None:
        ask(server, "PUT", "/harbour/warm", b"1")
        source = "/harbour/warm"
        copy = ask(server, "PUT", source, x_goog_copy_source=source, x_goog_storage_class="COLDLINE")
        assert copy[0] == 200
        assert ask(server, "HEAD", "/harbour/warm")[1]["x-goog-storage-class"] == "COLDLINE"
        assert ask(server, "PUT", "/harbour/warm", b"", x_goog_storage_class="TEPID")[0] == 400


class TestJson:
    def test_listing_has_pages_prefixes_and_an_offset(self, server: Gcs) -> None:
        for name in ("list/a", "list/b/1", "list/b/2", "list/c", "list/d", "list/e"):
            ask(server, "PUT", f"/harbour/{name}", b"1")
        names, prefixes, token = [], [], ""
        while True:
            path = f"/storage/v1/b/harbour/o?prefix=list/&delimiter=/&startOffset=list/b{token}"
            _, page = ask_json(server, "GET", path)
            names += [item["name"] for item in page["items"]]
            prefixes += page.get("prefixes", [])
            assert len(page["items"]) + len(page.get("prefixes", [])) <= 3
            if "nextPageToken" not in page:
                break
            token = f"&pageToken={page['nextPageToken']}"
        assert (names, prefixes) == (["list/c", "list/d", "list/e"], ["list/b/"])

    def test_media_upload_with_a_condition(self, server: Gcs) -> None:
        path = "/upload/storage/v1/b/harbour/o?uploadType=media&name=media%2Fa&ifGenerationMatch=0"
        status, made = ask_json(server, "POST", path, {"a": 1})
        assert (status, made["name"], made["size"]) == (200, "media/a", "8")
        status, refused = ask_json(server, "POST", path, {"a": 2})
        assert (status, refused["error"]["errors"][0]["reason"]) == (412, "conditionNotMet")
        name = quote("media/a", safe="")
        assert ask(server, "GET", f"/storage/v1/b/harbour/o/{name}?alt=media")[2] == b'{"a": 1}'
        assert ask(server, "GET", f"/download/storage/v1/b/harbour/o/{name}?alt=media", Range="bytes=0-1")[2] == b'{"'

    def test_resumable_upload_goes_on_after_a_lost_answer(self, server: Gcs) -> None:
        begin = "/upload/storage/v1/b/harbour/o?uploadType=resumable&name=resumed"
        place = urlsplit(ask(server, "POST", begin, b"{}")[1]["location"])
        path = f"{place.path}?{place.query}"
        status, headers, _ = ask(server, "PUT", path, b"01234", Content_Range="bytes 0-4/*")
        assert (status, headers["range"]) == (308, "bytes=0-4")
        status, headers, _ = ask(server, "PUT", path, Content_Range="bytes */*")
        assert (status, headers["range"]) == (308, "bytes=0-4")
        for _ in range(2):
            status, _, _ = ask(server, "PUT", path, b"56789", Content_Range="bytes 5-9/10")
            assert status == 200
        assert ask(server, "GET", "/harbour/resumed")[2] == b"0123456789"

    def test_storage_class_is_changed_by_a_rewrite(self, server: Gcs) -> None:
        ask(server, "PUT", "/harbour/tier", b"12345", x_goog_meta_owner="me")
        status, done = ask_json(
            server, "POST", "/storage/v1/b/harbour/o/tier/rewriteTo/b/harbour/o/tier", {"storageClass": "ARCHIVE"}
        )
        assert (status, done["done"], done["resource"]["storageClass"]) == (200, True, "ARCHIVE")
        _, resource = ask_json(server, "GET", "/storage/v1/b/harbour/o/tier")
        assert (resource["storageClass"], resource["metadata"], resource["size"]) == ("ARCHIVE", {"owner": "me"}, "5")

    def test_life_cycle_rules_are_given_back(self, server: Gcs) -> None:
        rules = {"lifecycle": {"rule": [{"action": {"type": "Delete"}, "condition": {"age": 30}}]}}
        assert ask_json(server, "PATCH", "/storage/v1/b/harbour", rules)[0] == 200
        assert ask_json(server, "GET", "/storage/v1/b/harbour")[1]["lifecycle"] == rules["lifecycle"]

    def test_bucket_is_made_once(self, server: Gcs) -> None:
        assert ask_json(server, "POST", "/storage/v1/b?project=p", {"name": "quay"})[0] == 200
        assert ask_json(server, "POST", "/storage/v1/b?project=p", {"name": "quay"})[0] == 409


def test_checksum_is_googles() -> None:
    assert crc32c(b"123456789") == _slow_crc32c(b"123456789") == 0xE3069283


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_google_cloud_storage_reads_and_writes(server: Gcs, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = pytest.importorskip("google.cloud.storage")
    from google.api_core.exceptions import PreconditionFailed
    from google.auth.credentials import AnonymousCredentials

    monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.endpoint)
    client = storage.Client(project="p", credentials=AnonymousCredentials())  # type: ignore[no-untyped-call]
    blob = client.bucket("harbour").blob("google/one")
    blob.upload_from_string(b"12345", if_generation_match=0)
    with pytest.raises(PreconditionFailed):
        blob.upload_from_string(b"54321", if_generation_match=0)
    assert blob.download_as_bytes() == b"12345"
    large = os.urandom(9 * 2**20)
    resumed = client.bucket("harbour").blob("google/two", chunk_size=2**20)
    resumed.upload_from_string(large)
    assert resumed.download_as_bytes() == large
    blob.update_storage_class("COLDLINE")
    blob.reload()
    assert blob.storage_class == "COLDLINE"
    assert [item.name for item in client.list_blobs("harbour", prefix="google/")] == ["google/one", "google/two"]
    blob.delete()
    assert not blob.exists()
    client.close()


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_gcsfs_reads_and_writes(server: Gcs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    gcsfs = pytest.importorskip("gcsfs")
    system = gcsfs.GCSFileSystem(
        token="anon", endpoint_url=server.endpoint, skip_instance_cache=True, use_listings_cache=False
    )
    system.pipe_file("harbour/fs/one", b"12345")
    large = os.urandom(6 * 2**20)
    with system.open("harbour/fs/two", "wb", block_size=2**20) as file:
        file.write(large)
    assert system.cat_file("harbour/fs/one", start=1, end=3) == b"23"
    assert system.cat_file("harbour/fs/two") == large
    assert sorted(system.find("harbour/fs")) == ["harbour/fs/one", "harbour/fs/two"]
    with pytest.raises(FileExistsError):
        system.pipe_file("harbour/fs/one", b"again", mode="create")
    system.rm(["harbour/fs/one", "harbour/fs/two"])
    assert system.find("harbour/fs") == []
