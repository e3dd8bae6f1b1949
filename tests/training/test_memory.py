from __future__ import annotations

from typing import Any

import psutil
import pytest

from tradewind.errors import CapacityError
from tradewind.families import shape_of
from tradewind.specs import TrainSpec
from tradewind.training.memory import PROCESS_BYTES, check_memory, need_bytes

SIZES: dict[str, Any] = {
    "model__hidden": 256,
    "model__layers": 8,
    "model__ffn": 4096,
    "batch__sequences": 64,
    "batch__tokens_per_sequence": 512,
    "workers": 3,
}


def spec(**changes: Any) -> TrainSpec:
    return TrainSpec.of(name="pilot", dataset="logbook").with_values(**changes)


def need(wish: TrainSpec, *, vocabulary: int = 1024) -> int:
    shape = shape_of(wish.model, vocabulary=vocabulary, context=wish.batch.tokens_per_sequence)
    return need_bytes(wish, shape)


@pytest.mark.parametrize("size", SIZES)
def test_each_larger_size_needs_more(size: str) -> None:
    assert need(spec(**{size: SIZES[size]})) > need(spec())


def test_larger_vocabulary_needs_more() -> None:
    assert need(spec(), vocabulary=2048) > need(spec(), vocabulary=1024)


def test_each_worker_needs_a_process() -> None:
    assert need(spec(workers=4)) - need(spec(workers=2)) > 2 * PROCESS_BYTES


def check(wish: TrainSpec) -> None:
    shape = shape_of(wish.model, vocabulary=1024, context=wish.batch.tokens_per_sequence)
    check_memory(wish, shape)


class Memory:
    """What psutil tells of a machine."""

    def __init__(self, available: int) -> None:
        self.total = self.available = available


def test_run_that_does_not_fit_is_refused_with_both_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: Memory(2**30))
    with pytest.raises(
        CapacityError, match=r"run 'pilot' needs about \d\.\d GiB of memory, and 1\.0 GiB are free here"
    ):
        check(spec())


def test_run_that_fits_is_let_through_to_the_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tradewind.training.memory.memory_free", lambda: need(spec()))
    check(spec())
    monkeypatch.setattr("tradewind.training.memory.memory_free", lambda: need(spec()) - 1)
    with pytest.raises(CapacityError):
        check(spec())
