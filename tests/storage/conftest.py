"""A stand-in for Google Cloud Storage behind a proxy that lets requests fail on demand."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tradewind.storage import Store, open_store
from tradewind.testing.faults import FaultProxy, start_faults
from tradewind.testing.gcs import Gcs, start_gcs


@pytest.fixture
def gcs() -> Iterator[Gcs]:
    with start_gcs("harbour", page_size=10) as server:
        yield server


@pytest.fixture
def proxy(gcs: Gcs, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    with start_faults(gcs.endpoint) as proxy:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", proxy.endpoint)
        yield proxy


@pytest.fixture
def remote(proxy: FaultProxy) -> Store:
    """A store whose requests go through `proxy`."""
    return open_store("gs://harbour/deep")
