from __future__ import annotations

import os
import pickle
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, quote

import pytest

from tradewind.errors import AuthError, ConflictError, SpecError
from tradewind.storage import open_store
from tradewind.testing.servers import Azurite, azurite_available, azurite_hint, start_azurite


@pytest.fixture(scope="module")
def azurite() -> Iterator[Azurite]:
    if not azurite_available():
        pytest.skip(f"needs Azurite: {azurite_hint()}")
    with start_azurite() as server:
        server.make_container("harbour")
        yield server


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in [name for name in os.environ if name.startswith("AZURE_")]:
        monkeypatch.delenv(name)
    return monkeypatch


def test_one_container_has_three_names(azurite: Azurite, alone: pytest.MonkeyPatch) -> None:
    for name, value in azurite.environment.items():
        alone.setenv(name, value)
    open_store("az://harbour/deep").put("a", b"1")
    assert open_store("abfs://harbour/deep/").get("a") == b"1"
    alone.delenv("AZURE_STORAGE_ACCOUNT_NAME")
    store = open_store(f"abfss://harbour@{azurite.account}.dfs.core.windows.net/deep")
    assert store.url == f"abfss://harbour@{azurite.account}.dfs.core.windows.net/deep"
    assert open_store(store.url).get("a") == b"1"
    with pytest.raises(ConflictError):
        store.create("a", b"2")


def test_missing_container_is_named_as_such(azurite: Azurite, alone: pytest.MonkeyPatch) -> None:
    for name, value in azurite.environment.items():
        alone.setenv(name, value)
    for operate in (
        lambda store: store.get("a"),
        lambda store: store.put("a", b""),
        lambda store: list(store.list("")),
    ):
        with pytest.raises(SpecError, match="there is no bucket for az://nothing-here"):
            operate(open_store("az://nothing-here/deep"))


def test_wrong_key_is_an_auth_error(azurite: Azurite, alone: pytest.MonkeyPatch) -> None:
    for name, value in azurite.environment.items():
        alone.setenv(name, value)
    alone.setenv("AZURE_STORAGE_ACCOUNT_KEY", "d3Jvbmc=")
    with pytest.raises(AuthError, match="is refused"):
        open_store("az://harbour/deep").get("a")


def test_shared_access_signature_is_enough_and_is_never_shown(azurite: Azurite, alone: pytest.MonkeyPatch) -> None:
    blob = pytest.importorskip("azure.storage.blob")
    token = blob.generate_account_sas(
        azurite.account,
        azurite.key,
        blob.ResourceTypes(container=True, object=True),
        blob.AccountSasPermissions(read=True, write=True, list=True, create=True),
        datetime.now(UTC) + timedelta(hours=1),
    )
    for name, value in azurite.environment.items():
        alone.setenv(name, value)
    alone.delenv("AZURE_STORAGE_ACCOUNT_KEY")
    alone.setenv("AZURE_STORAGE_SAS_TOKEN", token)
    store = open_store("az://harbour/signed")
    store.put("a", b"1")
    assert store.get("a") == b"1"
    signature = dict(parse_qsl(token))["sig"]
    alone.setenv("AZURE_STORAGE_SAS_TOKEN", token.replace("sp=", "sp=x"))
    with pytest.raises(AuthError) as caught:
        open_store("az://harbour/signed").put("a", b"1")
    shown = "".join(traceback.format_exception(caught.value)) + repr(store) + repr(pickle.dumps(store))
    for secret in (signature, quote(signature, safe=""), token):
        assert secret not in shown


def test_missing_account_says_what_to_set(alone: pytest.MonkeyPatch) -> None:
    with pytest.raises(SpecError, match="names no storage account") as caught:
        open_store("az://harbour/a").get("b")
    assert caught.value.hint == "set AZURE_STORAGE_ACCOUNT_NAME"


def test_missing_credentials_say_what_to_set(alone: pytest.MonkeyPatch) -> None:
    pytest.importorskip("azure.identity")
    alone.setenv("AZURE_STORAGE_ACCOUNT_NAME", "tradewind")
    alone.setenv("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")
    with pytest.raises(AuthError, match="no Azure credentials were found") as caught:
        open_store("az://harbour/a").get("b")
    assert "AZURE_STORAGE_ACCOUNT_KEY" in str(caught.value.hint)
