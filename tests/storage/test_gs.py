from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.storage.test_object_store import server_that_answers
from tradewind.errors import AuthError
from tradewind.storage import Store, open_store
from tradewind.testing.gcs import Gcs

NAMES = ("STORAGE_EMULATOR_HOST", "GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_SERVICE_ACCOUNT", "GOOGLE_BEARER_TOKEN")


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "gcloud"))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    return monkeypatch


def test_emulator_may_be_named_with_or_without_its_scheme(gcs: Gcs, alone: pytest.MonkeyPatch) -> None:
    for host in (gcs.endpoint, gcs.endpoint.removeprefix("http://"), f"{gcs.endpoint}/"):
        alone.setenv("STORAGE_EMULATOR_HOST", host)
        open_store("gs://harbour/a").put("b", host.encode())
        assert gcs.buckets.get("harbour", "a/b").data == host.encode()


def test_missing_credentials_say_what_to_run(alone: pytest.MonkeyPatch) -> None:
    pytest.importorskip("google.auth")
    with pytest.raises(AuthError, match="no Google credentials were found") as caught:
        open_store("gs://harbour/a").get("b")
    assert "gcloud auth application-default login" in str(caught.value.hint)


def test_damaged_credentials_are_an_auth_error(alone: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("google.auth")
    damaged = tmp_path / "credentials.json"
    damaged.write_text(json.dumps({"type": "service_account", "private_key": "planted-private-key"}))
    alone.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(damaged))
    with pytest.raises(AuthError) as caught:
        open_store("gs://harbour/a").get("b")
    assert "planted-private-key" not in f"{caught.value.message} {caught.value.__cause__}"


@pytest.mark.parametrize("status", [200, 400])
def test_service_account_is_asked_for_a_token(gcs: Gcs, alone: pytest.MonkeyPatch, tmp_path: Path, status: int) -> None:
    pytest.importorskip("google.auth")
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    answer = {"access_token": "ya29.token", "expires_in": 3600} if status == 200 else {"error": "invalid_grant"}
    with server_that_answers(status, json.dumps(answer)) as endpoint:
        account = {"type": "service_account", "client_email": "a@b.c", "private_key": key.decode(), "project_id": "p"}
        file = tmp_path / "account.json"
        file.write_text(json.dumps({**account, "token_uri": endpoint}))
        alone.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
        alone.setenv("GOOGLE_BASE_URL", gcs.endpoint)
        store = open_store("gs://harbour")
        if status == 200:
            store.put("a", b"1")
            assert store.get("a") == b"1"
        else:
            with pytest.raises(AuthError, match="invalid_grant"):
                store.get("a")


def test_static_token_reaches_another_server(gcs: Gcs, alone: pytest.MonkeyPatch) -> None:
    alone.setenv("GOOGLE_BASE_URL", gcs.endpoint)
    alone.setenv("GOOGLE_BEARER_TOKEN", "ya29.token")
    store: Store = open_store("gs://harbour")
    store.put("a", b"1")
    assert store.get("a") == b"1"
