"""Access tiers of Azure Blob Storage, through its own library. `pip install 'tradewind[azure]' azure-storage-blob`.

The archive tier is offline: a blob must be rehydrated, which takes up to 15 hours, by setting it back to another tier.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from tradewind.errors import ArchivedError, AuthError, NotFoundError, SpecError, StorageError
from tradewind.storage.az import HINT, locate
from tradewind.storage.classes.table import MARK, RestoreState, StoredClass, Tier, missing_extra

ONLINE = "Hot"
"""Where a restored blob goes: it is wanted now, and from there no reading is charged."""


class AzureClasses:
    """Keys of the store at `url`, in its container."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._location = locate(url)
        self._prefix = f"{self._location.prefix}/" if self._location.prefix else ""

    def list(self, prefix: str) -> Iterator[StoredClass]:
        with self._translated(prefix):
            for item in self._client.list_blobs(name_starts_with=f"{self._prefix}{prefix}/"):
                since = item.blob_tier_change_time or item.creation_time
                yield StoredClass(item.name.removeprefix(self._prefix), item.size, item.blob_tier or "Hot", since)

    def check(self, key: str, name: str) -> None:
        with self._translated(key):
            blob = self._blob(key)
            blob.upload_blob(b"?", overwrite=True)
            try:
                blob.set_standard_blob_tier(name)
            finally:
                blob.delete_blob()

    def move(self, key: str, name: str, *, tier: Tier) -> None:
        with self._translated(key):
            blob = self._blob(key)
            blob.set_blob_tags({**blob.get_blob_tags(), MARK: tier})  # before: an archived blob takes no tags
            blob.set_standard_blob_tier(name)

    def restore(self, key: str, *, days: int) -> None:  # noqa: ARG002 - as the protocol has it
        """`days` has no meaning here: the blob stays online until it is archived again."""
        if self.state(key) == "archived":
            with self._translated(key):
                self._blob(key).set_standard_blob_tier(ONLINE, rehydrate_priority="Standard")

    def state(self, key: str) -> RestoreState:
        with self._translated(key):
            found = self._blob(key).get_blob_properties()
        if found.archive_status:  # rehydrate-pending-to-hot
            return "restoring"
        return "archived" if found.blob_tier == "Archive" else "ready"

    def _blob(self, key: str) -> Any:
        return self._client.get_blob_client(f"{self._prefix}{key}")

    @cached_property
    def _client(self) -> Any:
        try:
            from azure.storage.blob import ContainerClient
        except ImportError as exc:
            raise missing_extra("azure-storage-blob", "azure") from exc
        there = self._location
        server = there.endpoint or f"https://{there.account}.blob.core.windows.net"
        return ContainerClient(server, there.container, credential=_credential(there.account))

    @contextmanager
    def _translated(self, key: str) -> Iterator[None]:
        self._client  # noqa: B018 - so that a missing extra is told as such
        from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError

        place = f"{self.url}/{key}"
        try:
            yield
        except ClientAuthenticationError as exc:
            raise AuthError(f"{place} is refused", hint=HINT) from exc
        except HttpResponseError as exc:
            raise _told(place, exc.status_code or 0, str(exc.error_code or "")) from exc  # type: ignore[attr-defined]
        except AzureError as exc:
            raise StorageError(f"{place} failed: {type(exc).__name__}", hint="check that it is reachable") from exc


def _told(place: str, status: int, code: str) -> Exception:
    if code in ("BlobArchived", "BlobBeingRehydrated"):
        return ArchivedError(f"{place} is archived", hint="restore it first: tw datasets restore NAME@VERSION")
    if status == 404:
        return NotFoundError(f"there is no {place}")
    if status in (401, 403):
        return AuthError(f"{place} is refused: {code}", hint=HINT)
    if code in ("AccessTierNotSupportedForBlobType", "BlobTierInadequateForContentLength", "InvalidHeaderValue",
                "FeatureNotSupported", "InvalidBlobTier"):  # fmt: skip
        return SpecError(f"{place} has no such tier: {code}", hint="this account keeps blobs alike; nothing was moved")
    return StorageError(f"{place} failed: {code or status}", hint="try again")


def _credential(account: str) -> Any:
    """What `az.py` lets obstore find: a key, a signature, or else azure-identity's chain."""
    for name in ("AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_ACCESS_KEY", "AZURE_STORAGE_MASTER_KEY"):
        if key := os.environ.get(name):
            return {"account_name": account, "account_key": key}
    for name in ("AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_SAS_KEY"):
        if token := os.environ.get(name):
            return token
    try:
        from azure.identity import DefaultAzureCredential
    except ImportError as exc:
        raise missing_extra("azure-identity", "azure") from exc
    return DefaultAzureCredential()
