from __future__ import annotations

import json
from pathlib import Path

import pytest

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


def test_static_token_reaches_another_server(gcs: Gcs, alone: pytest.MonkeyPatch) -> None:
    alone.setenv("GOOGLE_BASE_URL", gcs.endpoint)
    alone.setenv("GOOGLE_BEARER_TOKEN", "ya29.token")
    store: Store = open_store("gs://harbour")
    store.put("a", b"1")
    assert store.get("a") == b"1"
