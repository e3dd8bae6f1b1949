"""What a worker does before it trains."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from tradewind.training.driving.work import use_assigned_processors


@pytest.fixture(autouse=True)
def _threads_stay() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("said", "threads"), [("3", 3), ("2,1", 2), ("", 5), (None, 5)])
def test_torch_uses_the_processors_that_are_assigned(said: str | None, threads: int) -> None:
    torch.set_num_threads(5)
    use_assigned_processors({} if said is None else {"OMP_NUM_THREADS": said})
    assert torch.get_num_threads() == threads
