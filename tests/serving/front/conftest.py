from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.serving.front.servers import RunningFront, Server, running_front, running_server


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server() as running:
        yield running


@pytest.fixture
def front(server: Server) -> Iterator[RunningFront]:
    """A front with one replica."""
    with running_front(server) as running:
        yield running
