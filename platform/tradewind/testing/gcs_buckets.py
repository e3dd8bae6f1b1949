"""What the stand-in for Google Cloud Storage holds: buckets of objects with generations, and uploads under way.

Preconditions are checked and objects written under one lock, so that of racing creators exactly one wins.
"""

from __future__ import annotations

import base64
import hashlib
import struct
import threading
import uuid
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

STORAGE_CLASSES = ("STANDARD", "NEARLINE", "COLDLINE", "ARCHIVE")


class Refusal(Exception):  # noqa: N818 - an answer of the server
    """A request that gets an error as its answer."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


@dataclass(frozen=True)
class Blob:
    bucket: str
    name: str
    data: bytes
    generation: int
    metageneration: int = 1
    content_type: str = "application/octet-stream"
    storage_class: str = "STANDARD"
    metadata: dict[str, str] = field(default_factory=dict)
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    updated_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @cached_property
    def md5(self) -> bytes:
        return hashlib.md5(self.data, usedforsecurity=False).digest()

    @property
    def etag(self) -> str:
        return f'"{self.md5.hex()}"'

    @cached_property
    def crc32c(self) -> str:
        return base64.b64encode(struct.pack(">I", crc32c(self.data))).decode()


@dataclass(frozen=True)
class Conditions:
    """None asks for nothing; a generation of 0 asks that there is no object."""

    generation: int | None = None
    not_generation: int | None = None
    metageneration: int | None = None

    def check(self, blob: Blob | None) -> None:
        generation = blob.generation if blob else 0
        holds = (
            self.generation in (None, generation)
            and (self.not_generation is None or self.not_generation != generation)
            and (self.metageneration is None or (blob is not None and self.metageneration == blob.metageneration))
        )
        if not holds:
            raise Refusal(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold.")


@dataclass
class Upload:
    """A multipart upload of the XML API, or a resumable one of the JSON API."""

    bucket: str
    name: str
    details: dict[str, Any]
    conditions: Conditions
    parts: dict[int, bytes] = field(default_factory=dict)
    received: bytearray = field(default_factory=bytearray)
    finished: Blob | None = None


@dataclass(frozen=True)
class Page:
    blobs: list[Blob]
    prefixes: list[str]
    next_token: str | None


class Buckets:
    def __init__(self, names: tuple[str, ...], *, page_size: int) -> None:
        self.page_size = page_size
        self.lock = threading.RLock()
        self.settings: dict[str, dict[str, Any]] = {name: {} for name in names}
        self._blobs: dict[str, dict[str, Blob]] = {name: {} for name in names}
        self._uploads: dict[str, Upload] = {}
        self._generation = int(datetime.now(UTC).timestamp() * 1e6)

    def make(self, name: str) -> None:
        with self.lock:
            if name in self._blobs:
                raise Refusal(409, "BucketAlreadyOwnedByYou", f"Your previous request to create {name} succeeded.")
            self._blobs[name], self.settings[name] = {}, {}

    def bucket(self, name: str) -> dict[str, Blob]:
        if name not in self._blobs:
            raise Refusal(404, "NoSuchBucket", "The specified bucket does not exist.")
        return self._blobs[name]

    def get(self, bucket: str, name: str, conditions: Conditions | None = None) -> Blob:
        with self.lock:
            blob = self.bucket(bucket).get(name)
            (conditions or Conditions()).check(blob)
        if blob is None:
            raise Refusal(404, "NoSuchKey", f"No such object: {bucket}/{name}")
        return blob

    def put(self, bucket: str, name: str, data: bytes, conditions: Conditions, **details: Any) -> Blob:
        if details.get("storage_class", "STANDARD") not in STORAGE_CLASSES:
            raise Refusal(400, "InvalidStorageClass", f"{details['storage_class']} is no storage class.")
        with self.lock:
            blobs = self.bucket(bucket)
            conditions.check(blobs.get(name))
            self._generation += 1
            blobs[name] = blob = Blob(bucket, name, data, self._generation, **details)
        return blob

    def change(self, bucket: str, name: str, conditions: Conditions, **details: Any) -> Blob:
        with self.lock:
            blob = self.get(bucket, name, conditions)
            now = datetime.now(UTC)
            changed = replace(blob, metageneration=blob.metageneration + 1, updated_at=now, **details)
            self.bucket(bucket)[name] = changed
        return changed

    def delete(self, bucket: str, name: str, conditions: Conditions) -> None:
        with self.lock:
            self.get(bucket, name, conditions)
            del self.bucket(bucket)[name]

    def list(
        self, bucket: str, *, prefix: str, delimiter: str, first: str, token: str | None, limit: int | None
    ) -> Page:
        """Objects in the order of their names, from `first` on; a token says after which name a page goes on."""
        size = min(limit or self.page_size, self.page_size)
        after = base64.urlsafe_b64decode(token).decode() if token else None
        with self.lock:
            blobs = dict(self.bucket(bucket))
        page, last = Page([], [], None), ""
        for name in sorted(blobs):
            below, mark, _ = name.removeprefix(prefix).partition(delimiter) if delimiter else (name, "", "")
            shown = f"{prefix}{below}{mark}" if mark else name
            if not name.startswith(prefix) or name < first or (after is not None and shown <= after) or shown == last:
                continue
            if len(page.blobs) + len(page.prefixes) == size:
                return replace(page, next_token=base64.urlsafe_b64encode(last.encode()).decode())
            last = shown
            if mark:
                page.prefixes.append(shown)
            else:
                page.blobs.append(blobs[name])
        return page

    def begin(self, upload: Upload) -> str:
        with self.lock:
            upload.conditions.check(self.bucket(upload.bucket).get(upload.name))
            key = uuid.uuid4().hex
            self._uploads[key] = upload
        return key

    def upload(self, key: str) -> Upload:
        if key not in self._uploads:
            raise Refusal(404, "NoSuchUpload", "The requested upload was not found.")
        return self._uploads[key]

    def finish(self, key: str, data: bytes, *, forget: bool) -> Blob:
        """Write what was uploaded. A resumable upload is remembered, so that its last answer can be asked again."""
        with self.lock:
            upload = self.upload(key)
            upload.finished = self.put(upload.bucket, upload.name, data, upload.conditions, **upload.details)
            upload.parts.clear()
            upload.received.clear()
            if forget:
                del self._uploads[key]
        return upload.finished

    def cancel(self, key: str) -> None:
        with self.lock:
            self.upload(key)
            del self._uploads[key]


def crc32c(data: bytes) -> int:
    """By google-crc32c where it is installed, else slowly."""
    try:
        import google_crc32c
    except ImportError:
        return _slow_crc32c(data)
    return int(google_crc32c.value(data))


def _slow_crc32c(data: bytes) -> int:
    value = 0xFFFFFFFF
    for byte in data:
        value = _CRC[(value ^ byte) & 0xFF] ^ (value >> 8)
    return value ^ 0xFFFFFFFF


def _crc_entry(value: int) -> int:
    for _ in range(8):
        value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
    return value


_CRC = [_crc_entry(byte) for byte in range(256)]
