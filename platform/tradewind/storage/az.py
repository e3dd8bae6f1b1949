"""`az://container/prefix`: Azure Blob Storage; also `abfs://container/prefix` and `abfss://container@account.…/prefix`.

The account comes from `AZURE_STORAGE_ACCOUNT_NAME`, unless the URL names it. Credentials come from Azure's own places:
the `AZURE_*` environment (a key, a shared access signature, a service principal, a federated token), and with
azure-identity installed (`pip install 'tradewind[azure]'`) also `az login` and managed identities.
`AZURE_STORAGE_ENDPOINT` names another server, such as Azurite.
"""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from typing import Any

from tradewind.errors import AuthError, SpecError
from tradewind.storage.address import Address, parse_address
from tradewind.storage.object_store import ObjectStore, connection_options

HINT = "set AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_TOKEN, or run `az login`"
ACCOUNT = "AZURE_STORAGE_ACCOUNT_NAME"
READ_BY_OBSTORE = (
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_ACCESS_KEY",
    "AZURE_STORAGE_MASTER_KEY",
    "AZURE_STORAGE_SAS_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_STORAGE_TOKEN",
    "AZURE_STORAGE_CLIENT_SECRET",
    "AZURE_CLIENT_SECRET",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_SKIP_SIGNATURE",
    "AZURE_STORAGE_USE_EMULATOR",
)


def open_store(url: str) -> ObjectStore:
    return ObjectStore(_parse(url).url, _open_native, is_remote=True)


@dataclass(frozen=True)
class Location:
    """Where a container is. `endpoint` is set for servers that are not the account's own."""

    container: str
    prefix: str
    account: str
    endpoint: str | None


def locate(url: str) -> Location:
    """What a URL and the environment mean. Raises SpecError where neither names an account."""
    address = _parse(url)
    account = address.place.partition(".")[0] if address.user else os.environ.get(ACCOUNT)
    if not account:
        raise SpecError(f"{url} names no storage account", hint=f"set {ACCOUNT}")
    endpoint = os.environ.get("AZURE_STORAGE_ENDPOINT") or os.environ.get("AZURE_ENDPOINT") or None
    return Location(address.user or address.place, address.prefix, account, endpoint)


def _open_native(url: str, max_retries: int = 0) -> Any:
    from obstore.store import AzureStore

    found = locate(url)
    where: dict[str, Any] = {"endpoint": found.endpoint} if found.endpoint else {}
    return AzureStore(
        found.container,
        prefix=found.prefix or None,
        account_name=found.account,
        credential_provider=_credentials(),
        **connection_options(found.endpoint, max_retries),
        **where,
    )


def _parse(url: str) -> Address:
    """Of `abfss://container@account.dfs.core.windows.net/prefix` the container is where others have a user."""
    return parse_address(url, what="container", hint=HINT, takes_user=url.startswith(("abfs:", "abfss:")))


def _credentials() -> Any:
    """azure-identity's chain where it is installed; None lets obstore look in fewer places by itself."""
    if any(os.environ.get(name) for name in READ_BY_OBSTORE) or not _has_azure_identity():
        return None
    from azure.core.exceptions import AzureError
    from obstore.auth.azure import AzureCredentialProvider

    try:
        provider = AzureCredentialProvider()
        provider()
    except (AzureError, ValueError) as exc:
        raise AuthError("no Azure credentials were found", hint=HINT) from exc
    return provider


def _has_azure_identity() -> bool:
    try:
        return importlib.util.find_spec("azure.identity") is not None
    except ModuleNotFoundError:
        return False
