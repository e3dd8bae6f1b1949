"""The reader as PyTorch sees it: in this process, in worker processes, and resumed."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

from tests.datasets.logbook import dataset
from tradewind.datasets import Batches, Reader, Samples
from tradewind.datasets.reading.torch_dataset import TorchBatches
from tradewind.errors import SpecError
from tradewind.storage import open_store
from tradewind.storage.cache import Cache


@pytest.fixture
def batches(tmp_path: Path) -> Batches:
    made = dataset([40, 30, 50], dtype="uint16", store=open_store(str(tmp_path / "store")))
    return Batches(Samples(made, "train", width=5), sequences=4, seed=3)


def expected(batches: Batches, cache: Cache) -> list[torch.Tensor]:
    return [torch.from_numpy(batch.tokens) for batch in Reader(batches, epochs=1, cache=cache)]


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", 10**9)


def same(found: list[torch.Tensor], wanted: list[torch.Tensor]) -> bool:
    return len(found) == len(wanted) and all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))


def test_batches_are_the_readers_in_the_type_of_the_shards(batches: Batches, cache: Cache) -> None:
    found = list(DataLoader(TorchBatches(batches, epochs=1, cache=cache), batch_size=None))
    assert found[0].dtype == torch.uint16
    assert same(found, expected(batches, cache))


@pytest.mark.slow
def test_worker_processes_keep_the_order(batches: Batches, cache: Cache) -> None:
    loader = DataLoader(
        TorchBatches(batches, epochs=1, cache=cache),
        batch_size=None,
        num_workers=2,
        multiprocessing_context="forkserver",
    )
    assert same(list(loader), expected(batches, cache))


def test_state_is_exact_and_travels_in_a_pickle(batches: Batches, cache: Cache) -> None:
    wanted = expected(batches, cache)
    first = TorchBatches(batches, epochs=1, cache=cache)
    taken = iter(first)
    assert same([next(taken), next(taken)], wanted[:2])
    state = pickle.loads(pickle.dumps(first.state_dict()))
    second = TorchBatches(batches, epochs=1, cache=cache)
    second.load_state_dict(state)
    assert same(list(second), wanted[2:])


def test_ranks_share_a_batch(batches: Batches, cache: Cache) -> None:
    halves = [list(TorchBatches(batches, rank=rank, world=2, epochs=1, cache=cache)) for rank in range(2)]
    joined = [torch.cat(pair) for pair in zip(*halves, strict=True)]
    assert same(joined, expected(batches, cache))


def test_state_of_another_order_is_refused(batches: Batches, cache: Cache) -> None:
    other = TorchBatches(batches, cache=cache)
    with pytest.raises(SpecError, match="another dataset version"):
        other.load_state_dict({"order": b"0" * 16, "samples": 4})
