"""Storage classes of Google Cloud Storage: objects are rewritten by its JSON API. `pip install 'tradewind[gcp]'`.

Every class is readable at once. A rewritten object leaves its old generation behind where the bucket has versioning or
soft delete, and that is billed.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, urlencode
from urllib.request import Request, urlopen

from tradewind.errors import AuthError, ConflictError, NotFoundError, SpecError, StorageError, TradewindError
from tradewind.storage.address import parse_address
from tradewind.storage.classes.table import MARK, RestoreState, StoredClass, Tier, missing_extra
from tradewind.storage.gs import HINT, SCOPE, emulator
from tradewind.storage.patience import STALLED_S, with_patience
from tradewind.storage.translation import PASSING

SERVER = "https://storage.googleapis.com"


class GcsClasses:
    """Keys of the store at `url`, in its bucket."""

    def __init__(self, url: str) -> None:
        self.url = url
        address = parse_address(url, hint=HINT)
        self._bucket = address.place
        self._prefix = f"{address.prefix}/" if address.prefix else ""
        server = emulator()
        self._token = None if server else _Token()
        self._server = server or SERVER

    def list(self, prefix: str) -> Iterator[StoredClass]:
        page: dict[str, Any] = {"nextPageToken": ""}
        while (token := page.get("nextPageToken")) is not None:
            query = {
                "prefix": f"{self._prefix}{prefix}/",
                "fields": "nextPageToken,items(name,size,storageClass,timeStorageClassUpdated,timeCreated)",
                **({"pageToken": token} if token else {}),
            }
            page = self._call("GET", f"/storage/v1/b/{self._bucket}/o", query)
            for item in page.get("items", []):
                since = item.get("timeStorageClassUpdated") or item.get("timeCreated")
                yield StoredClass(
                    item["name"].removeprefix(self._prefix),
                    int(item["size"]),
                    item.get("storageClass", "STANDARD"),
                    datetime.fromisoformat(since) if since else None,
                )

    def check(self, key: str, name: str) -> None:
        """All classes are there in every bucket of Google's."""

    def move(self, key: str, name: str, *, tier: Tier) -> None:
        place = self._object(key)
        now = self._call("GET", place, {"fields": "metadata,generation"})
        body = {
            "storageClass": name,
            "metadata": {**now.get("metadata", {}), MARK: tier},
            "customTime": datetime.now(UTC).isoformat(),
        }
        try:
            self._rewrite(place, {"ifGenerationMatch": str(now["generation"])}, body)
        except ConflictError:  # also where the answer to the rewrite was lost and it was asked for again
            found = self._call("GET", place, {"fields": "metadata,storageClass"})
            if (found.get("storageClass"), found.get("metadata", {}).get(MARK)) != (name, tier):
                raise

    def _rewrite(self, place: str, query: Mapping[str, str], body: Mapping[str, Any]) -> None:
        path = f"{place}/rewriteTo{place.removeprefix('/storage/v1')}"
        answer: dict[str, Any] = {}
        while not answer.get("done"):
            token = answer.get("rewriteToken")
            answer = self._call("POST", path, {**query, **({"rewriteToken": token} if token else {})}, body)

    def restore(self, key: str, *, days: int) -> None:
        """Nothing to do: every class is readable at once."""

    def state(self, key: str) -> RestoreState:  # noqa: ARG002 - as the protocol has it
        return "ready"

    def _object(self, key: str) -> str:
        return f"/storage/v1/b/{self._bucket}/o/{quote(self._prefix + key, safe='')}"

    def _call(
        self, method: str, path: str, query: Mapping[str, str], body: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """The server's answer, asked for again while the failure is one that passes."""
        place = f"{self.url} ({method})"
        url = f"{self._server}{path}?{urlencode(query)}"
        data = json.dumps(body).encode() if body is not None else None

        def ask() -> dict[str, Any]:
            headers = {"Content-Type": "application/json", **(self._token.header() if self._token else {})}
            return _answer(Request(url, data, headers, method=method))  # noqa: S310 - Google's or what the user named

        try:
            return with_patience(ask, passes=_passes)
        except _RefusedError as exc:
            raise _told(place, exc.status, exc.answer) from None
        except (OSError, HTTPException, ValueError) as exc:
            raise StorageError(f"{place} failed: {type(exc).__name__}", hint="check that it is reachable") from None


class _RefusedError(Exception):
    def __init__(self, status: int, answer: str) -> None:
        super().__init__(status)
        self.status, self.answer = status, answer


def _answer(request: Request) -> dict[str, Any]:
    try:
        with urlopen(request, timeout=STALLED_S) as answer:  # noqa: S310
            found: dict[str, Any] = json.loads(answer.read() or b"{}")
            return found
    except HTTPError as exc:
        with exc:
            raise _RefusedError(exc.code, exc.read().decode(errors="replace")) from None


def _passes(exc: BaseException) -> bool:
    """An overloaded server, or an answer that did not come as a whole."""
    if isinstance(exc, _RefusedError):
        return exc.status in PASSING
    return isinstance(exc, (OSError, HTTPException, ValueError))


class _Token:
    """Google's application default credentials, renewed when they expire."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._credentials: Any = None

    def header(self) -> dict[str, str]:
        try:
            import google.auth
            from google.auth.exceptions import GoogleAuthError
            from google.auth.transport.requests import Request as Transport
        except ImportError as exc:
            raise missing_extra("google-auth and requests", "gcp") from exc
        try:
            with self._lock:
                if self._credentials is None:
                    self._credentials, _ = google.auth.default(scopes=[SCOPE])
                if not self._credentials.valid:
                    self._credentials.refresh(Transport())
                return {"Authorization": f"Bearer {self._credentials.token}"}
        except GoogleAuthError as exc:
            raise AuthError("no Google credentials were found", hint=HINT) from exc


def _told(place: str, status: int, answer: str) -> TradewindError:
    try:
        message = str(json.loads(answer)["error"]["message"])[:200]
    except (ValueError, KeyError, TypeError):
        message = f"status {status}"
    if status in (401, 403):
        return AuthError(f"{place} is refused: {message}", hint="check the credentials and their rights")
    if status == 404:
        return NotFoundError(f"{place} is not there: {message}")
    if status == 412:
        return ConflictError(f"{place} was changed meanwhile: {message}", hint="try again")
    if status in (400, 501):
        return SpecError(f"{place} is not possible: {message}", hint="this server has no storage classes")
    return StorageError(f"{place} failed: {message}", hint="try again")
