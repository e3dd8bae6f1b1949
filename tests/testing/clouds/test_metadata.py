"""The metadata services of a lab, heard as the sentinel hears them."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tradewind.clusters.sentinel.metadata import ask
from tradewind.clusters.sentinel.table import SOURCES, open_source
from tradewind.testing.clouds.metadata import Metadata, start_metadata
from tradewind.testing.servers import free_port

HERE = "127.0.0.1"


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture
def metadata(port: int) -> Iterator[Metadata]:
    with start_metadata(HERE, port) as metadata:
        yield metadata


@pytest.mark.parametrize("cloud", ["aws", "azure", "gcp"])
def test_sentinel_hears_that_its_machine_will_be_taken(metadata: Metadata, port: int, cloud: str) -> None:
    metadata.clouds[HERE] = cloud
    source = open_source(cloud, f"http://{HERE}:{port}")
    assert source.poll() is None
    metadata.warn(HERE, 25)
    notice = source.poll()
    assert notice is not None
    assert notice.kind == "preemption"
    assert notice.deadline_unix_s == pytest.approx(time.time() + 27.5, abs=5)


def test_every_cloud_of_the_sentinel_is_here() -> None:
    assert set(SOURCES) == {"aws", "azure", "gcp"}


def test_who_is_no_machine_gets_no_answer(metadata: Metadata, port: int) -> None:
    assert ask(f"http://{HERE}:{port}", "/latest/meta-data/", headers={}).status == 404


def test_next_machine_with_the_address_begins_without_news(metadata: Metadata, port: int) -> None:
    metadata.clouds[HERE] = "aws"
    metadata.warn(HERE, 25)
    metadata.forget(HERE)
    assert open_source("aws", f"http://{HERE}:{port}").poll() is None
