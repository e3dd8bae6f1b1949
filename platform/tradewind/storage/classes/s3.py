"""Storage classes of Amazon S3, through boto3: obstore sees no classes. `pip install 'tradewind[aws]'`.

An object changes its class by being copied onto itself. In a bucket with versioning, the copy in the old class stays
behind as an older version, and is billed until a rule of the bucket removes it.
"""

from __future__ import annotations

import builtins
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any
from urllib.parse import urlencode

from tradewind.errors import ArchivedError, AuthError, NotFoundError, SpecError, StorageError
from tradewind.storage.address import parse_address
from tradewind.storage.classes.table import MARK, RestoreState, StoredClass, Tier, missing_extra

MOST_COPIED_BYTES = 5 * 2**30
"""CopyObject takes no more (docs.aws.amazon.com, API CopyObject)."""

RETRIEVAL = "Standard"
"""Within 12 hours out of DEEP_ARCHIVE. Bulk is cheaper and takes 48, but its price has no source here."""

REFUSED = {"AccessDenied", "403", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"}
NO_CLASS = {"InvalidStorageClass", "NotImplemented"}
NO_CLASS_OR_ARGUMENT = {*NO_CLASS, "InvalidArgument"}
"""What Ceph 16 says to a class that it does not have, where nothing else can be invalid."""

ARCHIVED = {"InvalidObjectState", "ObjectNotInActiveTierError"}


class S3Classes:
    """Keys of the store at `url`, in its bucket."""

    def __init__(self, url: str) -> None:
        self.url = url
        address = parse_address(url, hint="")
        self._bucket = address.place
        self._prefix = f"{address.prefix}/" if address.prefix else ""

    def list(self, prefix: str) -> Iterator[StoredClass]:
        with self._translated(prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=f"{self._prefix}{prefix}/"
            )
            for page in pages:
                for item in page.get("Contents", []):
                    key = item["Key"].removeprefix(self._prefix)
                    yield StoredClass(key, item["Size"], item.get("StorageClass", "STANDARD"), item["LastModified"])

    def check(self, key: str, name: str) -> None:
        with self._translated(key, no_class=NO_CLASS_OR_ARGUMENT):
            self._client.put_object(**self._at(key), Body=b"?", StorageClass=name)
            found = self._client.head_object(**self._at(key)).get("StorageClass", "STANDARD")
            self._client.delete_object(**self._at(key))
        if found != name:
            raise _no_class(self.url, f"it wrote {found} where {name} was asked for")

    def move(self, key: str, name: str, *, tier: Tier) -> None:
        with self._translated(key):
            where = self._at(key)
            if self._client.head_object(**where)["ContentLength"] > MOST_COPIED_BYTES:
                raise SpecError(f"{self.url}/{key} is larger than 5 GiB", hint="make smaller shards: `shard_bytes`")
            tags: builtins.list[dict[str, str]] = self._client.get_object_tagging(**where)["TagSet"]
            marked = {**{tag["Key"]: tag["Value"] for tag in tags}, MARK: tier}
            self._client.copy_object(
                **where,
                CopySource=where,
                StorageClass=name,
                MetadataDirective="COPY",
                TaggingDirective="REPLACE",
                Tagging=urlencode(marked),
            )

    def restore(self, key: str, *, days: int) -> None:
        from botocore.exceptions import ClientError

        request = {"Days": days, "GlacierJobParameters": {"Tier": RETRIEVAL}}
        with self._translated(key):
            try:
                self._client.restore_object(**self._at(key), RestoreRequest=request)
            except ClientError as exc:
                if exc.response.get("Error", {}).get("Code") != "RestoreAlreadyInProgress":
                    raise

    def state(self, key: str) -> RestoreState:
        with self._translated(key):
            restore = self._client.head_object(**self._at(key)).get("Restore")
        if restore is None:
            return "archived"
        return "restoring" if 'ongoing-request="true"' in restore else "ready"

    def _at(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": f"{self._prefix}{key}"}

    @cached_property
    def _client(self) -> Any:
        try:
            import boto3
            from botocore.config import Config
        except ImportError as exc:
            raise missing_extra("boto3", "aws") from exc
        options = Config(max_pool_connections=32, retries={"mode": "standard", "max_attempts": 5})
        return boto3.session.Session().client("s3", config=options)  # boto3.client keeps the first credentials it saw

    @contextmanager
    def _translated(self, key: str, *, no_class: Collection[str] = NO_CLASS) -> Iterator[None]:
        self._client  # noqa: B018 - so that a missing extra is told as such
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

        place = f"{self.url}/{key}"
        try:
            yield
        except NoCredentialsError as exc:
            raise AuthError("no AWS credentials were found", hint="set AWS_ACCESS_KEY_ID or use a profile") from exc
        except ClientError as exc:
            error = exc.response.get("Error", {})
            if error.get("Code") in no_class:
                raise _no_class(self.url, error.get("Message") or error["Code"]) from exc
            raise _told(place, self.url, error) from exc
        except BotoCoreError as exc:
            problem = f"{place} failed: {type(exc).__name__}"
            raise StorageError(problem, hint="check that the store is reachable") from exc


def _told(place: str, url: str, error: dict[str, str]) -> Exception:
    code, message = error.get("Code", ""), error.get("Message", "")
    if code in ARCHIVED:
        return ArchivedError(f"{place} is archived", hint="restore it first: tw datasets restore NAME@VERSION")
    if code == "NoSuchBucket":
        return SpecError(f"there is no bucket for {url}", hint="create it, or correct the URL")
    if code in ("NoSuchKey", "404"):
        return NotFoundError(f"there is no {place}")
    if code in REFUSED:
        return AuthError(f"{place} is refused: {message or code}", hint="check the credentials and their rights")
    return StorageError(f"{place} failed: {code}: {message}", hint="try again")


def _no_class(url: str, problem: str) -> SpecError:
    return SpecError(
        f"{url} has no such storage class: {problem}",
        hint="this server keeps all objects alike; nothing was moved. Tiers are for Amazon S3",
    )
