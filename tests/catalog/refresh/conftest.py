"""A stand-in for the clouds' price APIs, and credentials that are nobody's."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.catalog.refresh.cloud import Cloud, running_cloud
from tradewind.catalog.refresh import azure, gcp

API_KEY = "a-key-that-no-message-may-hold"


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch, tmp_path: str) -> Iterator[Cloud]:
    """All three clouds' prices are asked from here."""
    with running_cloud() as server:
        for name in ("AWS_ENDPOINT_URL_PRICING", "AWS_ENDPOINT_URL_EC2", gcp.URL_VARIABLE):
            monkeypatch.setenv(name, server.endpoint)
        monkeypatch.setenv(azure.URL_VARIABLE, f"{server.endpoint}/api/retail/prices")
        monkeypatch.setenv(gcp.KEY_VARIABLE, API_KEY)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIANOBODYSMASTER001")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nobodys")
        yield server


@pytest.fixture(autouse=True)
def own_account(monkeypatch: pytest.MonkeyPatch, tmp_path: str) -> None:
    """Nothing of the account that runs the tests is found."""
    for name in (
        "AWS_PROFILE",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "AWS_ENDPOINT_URL",
        "GOOGLE_APPLICATION_CREDENTIALS",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", f"{tmp_path}/none")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", f"{tmp_path}/none")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits that were asked for, in seconds; none of them is waited."""
    asked: list[float] = []
    monkeypatch.setattr(time, "sleep", asked.append)
    return asked
