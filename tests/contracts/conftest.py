"""The places where the contract of stores is tried: each server once for all tests, and again behind its faults."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

import pytest

from tradewind.testing.faults import FaultProxy, Plan, start_faults
from tradewind.testing.gcs import Gcs, start_gcs
from tradewind.testing.rgw import INSTALL, Rgw, rgw_available, start_rgw
from tradewind.testing.servers import Azurite, azurite_available, azurite_hint, start_azurite

PLAN = Plan(seed=2026, share=0.08, slow_s=0.02)
BUCKET = "harbour"


@pytest.fixture(scope="session")
def ceph() -> Iterator[Rgw]:
    if not rgw_available():
        pytest.skip(f"needs Ceph: {INSTALL}")
    with start_rgw() as server:
        server.make_bucket(BUCKET)
        yield server


@pytest.fixture(scope="session")
def gcs() -> Iterator[Gcs]:
    with start_gcs(BUCKET, page_size=100) as server:
        yield server


@pytest.fixture(scope="session")
def azurite() -> Iterator[Azurite]:
    if not azurite_available():
        pytest.skip(f"needs Azurite: {azurite_hint()}")
    with start_azurite() as server:
        server.make_container(BUCKET)
        yield server


@pytest.fixture(scope="session")
def moto_faults(moto_endpoint: str) -> Iterator[FaultProxy]:
    with start_faults(moto_endpoint, PLAN) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def gcs_faults(gcs: Gcs) -> Iterator[FaultProxy]:
    with start_faults(gcs.endpoint, PLAN) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def azurite_faults(azurite: Azurite) -> Iterator[FaultProxy]:
    with start_faults(azurite.endpoint, PLAN) as proxy:
        yield proxy


@pytest.fixture
def ceph_s3(moto_s3: str, ceph: Rgw, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AWS_ENDPOINT_URL", ceph.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ceph.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", ceph.secret_key)
    return f"s3://{BUCKET}"


@pytest.fixture
def faulty_s3(moto_s3: str, moto_faults: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_faults.endpoint)
    return moto_s3


@pytest.fixture
def google(gcs: Gcs, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs.endpoint)
    return f"gs://{BUCKET}"


@pytest.fixture
def faulty_google(gcs_faults: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs_faults.endpoint)
    return f"gs://{BUCKET}"


@pytest.fixture
def azure(azurite: Azurite, monkeypatch: pytest.MonkeyPatch) -> str:
    _set(monkeypatch, azurite.environment)
    return f"az://{BUCKET}"


@pytest.fixture
def faulty_azure(azurite: Azurite, azurite_faults: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> str:
    _set(monkeypatch, {**azurite.environment, "AZURE_STORAGE_ENDPOINT": azurite_faults.endpoint})
    return f"az://{BUCKET}"


def _set(monkeypatch: pytest.MonkeyPatch, environment: Mapping[str, str]) -> None:
    for name in [name for name in os.environ if name.startswith("AZURE_")]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
