"""`gs://bucket/prefix`: Google Cloud Storage.

Credentials are Google's application default credentials: `GOOGLE_APPLICATION_CREDENTIALS`, those of
`gcloud auth application-default login`, or those of the machine; with google-auth installed
(`pip install 'tradewind[gcp]'`) also workload identity federation and impersonation. `STORAGE_EMULATOR_HOST` names a
server that stands in for Google's and asks for no credentials.
"""

from __future__ import annotations

import importlib.util
import os
from typing import TYPE_CHECKING, Any

from tradewind.errors import AuthError
from tradewind.storage.address import parse_address
from tradewind.storage.object_store import ObjectStore, connection_options

if TYPE_CHECKING:
    from obstore.store import GCSCredential

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
HINT = "run `gcloud auth application-default login` or set GOOGLE_APPLICATION_CREDENTIALS"
READ_BY_OBSTORE = (
    "GOOGLE_SERVICE_ACCOUNT",
    "GOOGLE_SERVICE_ACCOUNT_PATH",
    "GOOGLE_SERVICE_ACCOUNT_KEY",
    "GOOGLE_BEARER_TOKEN",
    "GOOGLE_SKIP_SIGNATURE",
)


def open_store(url: str) -> ObjectStore:
    return ObjectStore(parse_address(url, hint=HINT).url, _open_native, is_remote=True)


def _open_native(url: str, max_retries: int = 0) -> Any:
    from obstore.store import GCSStore

    address = parse_address(url, hint=HINT)
    server = emulator()
    where: dict[str, Any] = {"base_url": server} if server else {}
    return GCSStore(
        address.place,
        prefix=address.prefix or None,
        credential_provider=_no_credentials if server else _credentials(),
        **connection_options(server or os.environ.get("GOOGLE_BASE_URL"), max_retries),
        **where,
    )


def emulator() -> str | None:
    """The URL of the server that `STORAGE_EMULATOR_HOST` names, with or without its scheme."""
    host = os.environ.get("STORAGE_EMULATOR_HOST", "").rstrip("/")
    return f"http://{host}" if host and "://" not in host else host or None


def _no_credentials() -> GCSCredential:
    """For servers that ask for none: obstore's own switch for it leaves writes out."""
    return {"token": "none", "expires_at": None}


def _credentials() -> Any:
    """google-auth's chain where it is installed; None lets obstore look in fewer places by itself."""
    if any(os.environ.get(name) for name in READ_BY_OBSTORE) or not _has_google_auth():
        return None
    import google.auth
    from google.auth.exceptions import GoogleAuthError
    from obstore.auth.google import GoogleCredentialProvider

    try:
        credentials, _ = google.auth.default(scopes=[SCOPE])
        return GoogleCredentialProvider(credentials)
    except GoogleAuthError as exc:
        raise AuthError("no Google credentials were found", hint=HINT) from exc


def _has_google_auth() -> bool:
    try:
        return all(importlib.util.find_spec(name) for name in ("google.auth", "requests"))
    except ModuleNotFoundError:
        return False
