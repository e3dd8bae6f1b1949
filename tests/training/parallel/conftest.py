from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.training.parallel.ranks import Ranks

_started: list[Ranks] = []


@pytest.fixture(scope="session")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield tmp_path_factory.mktemp("ranks")
    for ranks in _started:
        if ranks.is_alive:
            ranks.stop()


@pytest.fixture
def ranks(_folder: Path) -> Ranks:
    """Four ranks, the same for all tests until one fails."""
    if not _started or not _started[-1].is_alive:
        _started.append(Ranks(_folder))
    return _started[-1]
