"""Planted secrets are looked for in everything that a store shows: URL, text, pickle, errors and their tracebacks."""

from __future__ import annotations

import base64
import os
import pickle
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import free_port
from tests.storage.test_object_store import OPERATIONS, server_that_answers
from tradewind.errors import TradewindError
from tradewind.storage import Store, open_store

KEY = base64.b64encode(b"a-planted-account-key-of-a-storage-account").decode()
SAS = "sv=2024-11-04&ss=b&srt=sco&sp=rwdlac&se=2030-01-01T00:00:00Z&sig=cGxhbnRlZC1zaWduYXR1cmU%3D"
BEARER = "ya29.planted-bearer-token-of-google"
SECRETS = (
    KEY,
    "cGxhbnRlZC1zaWduYXR1cmU",
    BEARER,
    "planted-secret-access-key",
    "planted-session-token",
    "AKIAPLANTED00000001",
)

Environment = dict[str, str]
S3 = {
    "AWS_ACCESS_KEY_ID": "AKIAPLANTED00000001",
    "AWS_SECRET_ACCESS_KEY": "planted-secret-access-key",
    "AWS_SESSION_TOKEN": "planted-session-token",
    "AWS_REGION": "us-east-1",
}
AZURE = {"AZURE_STORAGE_ACCOUNT_NAME": "tradewind"}
PLACES: dict[str, tuple[str, Callable[[str], Environment]]] = {
    "s3": ("s3://harbour/a", lambda endpoint: {**S3, "AWS_ENDPOINT_URL": endpoint}),
    "az-key": (
        "az://harbour/a",
        lambda endpoint: {**AZURE, "AZURE_STORAGE_ACCOUNT_KEY": KEY, "AZURE_STORAGE_ENDPOINT": f"{endpoint}/tradewind"},
    ),
    "az-sas": (
        "az://harbour/a",
        lambda endpoint: {**AZURE, "AZURE_STORAGE_SAS_TOKEN": SAS, "AZURE_STORAGE_ENDPOINT": f"{endpoint}/tradewind"},
    ),
    "gs": ("gs://harbour/a", lambda endpoint: {"GOOGLE_BEARER_TOKEN": BEARER, "GOOGLE_BASE_URL": endpoint}),
}


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr("tradewind.storage.patience.TRIES", 2)
    for name in [name for name in os.environ if name.startswith(("AWS_", "AZURE_", "GOOGLE_"))]:
        monkeypatch.delenv(name)
    return monkeypatch


def everything_shown(store: Store, operation: Callable[[Store], Any]) -> str:
    shown = [store.url, repr(store), str(store), repr(pickle.dumps(store))]
    try:
        operation(store)
    except TradewindError as exc:
        shown += [exc.message, str(exc.hint), str(exc.to_dict()), repr(pickle.dumps(exc))]
        shown += traceback.format_exception(exc)
    return "\n".join(shown)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("status", [400, 403, 404, 500])
def test_answers_that_quote_a_secret_do_not_show_it(place: str, status: int, clean: pytest.MonkeyPatch) -> None:
    url, environment = PLACES[place]
    secrets = " and ".join(value for value in environment("").values() if any(secret in value for secret in SECRETS))
    echo = f"<Error><Code>Refused</Code><Message>{secrets}</Message><AWSAccessKeyId>{secrets}</AWSAccessKeyId></Error>"
    with server_that_answers(status, echo.replace("&", "&amp;")) as endpoint:
        for name, value in environment(endpoint).items():
            clean.setenv(name, value)
        for operation in OPERATIONS.values():
            shown = everything_shown(open_store(url), operation)
            assert [secret for secret in SECRETS if secret in shown] == []


@pytest.mark.parametrize("place", PLACES)
def test_server_that_is_not_there_brings_no_secret_out(place: str, clean: pytest.MonkeyPatch) -> None:
    url, environment = PLACES[place]
    for name, value in environment(f"http://127.0.0.1:{free_port()}").items():
        clean.setenv(name, value)
    for operation in OPERATIONS.values():
        shown = everything_shown(open_store(url), operation)
        assert "failed" in shown
        assert [secret for secret in SECRETS if secret in shown] == []
