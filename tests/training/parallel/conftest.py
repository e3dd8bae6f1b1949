from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.training.parallel.ranks import Ranks

_started: list[Ranks] = []
MOST_RUNS = 20
"""Each layout's groups bring threads that stay with the process; those of hundreds of layouts take all the time."""


@pytest.fixture(scope="session")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield tmp_path_factory.mktemp("ranks")
    for ranks in _started:
        if ranks.is_alive:
            ranks.stop()


@pytest.fixture
def ranks(_folder: Path) -> Ranks:
    """Four ranks, the same for many tests until one fails."""
    if _started and _started[-1].is_alive and _started[-1].runs >= MOST_RUNS:
        _started[-1].stop()
    if not _started or not _started[-1].is_alive:
        _started.append(Ranks(_folder))
    return _started[-1]
