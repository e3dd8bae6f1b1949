from __future__ import annotations

from typing import Any

import psutil
import pytest

from tradewind.errors import CapacityError
from tradewind.families import shape_of
from tradewind.specs import TrainSpec
from tradewind.training.memory import PROCESS_BYTES, check_memory, chip_need_bytes, need_bytes, shortage_told

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
        CapacityError,
        match=r"run 'pilot' needs about \d\.\d GiB of memory, and 1\.0 GiB are free here: [\d.]+ GiB too little",
    ):
        check(spec())


def test_run_that_fits_is_let_through_to_the_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tradewind.training.memory.memory_free", lambda: need(spec()))
    check(spec())
    monkeypatch.setattr("tradewind.training.memory.memory_free", lambda: need(spec()) - 1)
    with pytest.raises(CapacityError):
        check(spec())


def test_passes_and_activations_that_are_computed_again_need_less() -> None:
    wide = spec(batch__sequences=512, batch__tokens_per_sequence=512)
    by_one, again = wide.with_values(batch__sequences_per_pass=1), wide.with_values(activations="full")
    assert max(need(by_one), need(again)) < need(wide)


def test_hint_is_a_change_with_which_the_run_is_let_through(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = spec(batch__sequences=512, batch__tokens_per_sequence=512)
    monkeypatch.setattr("tradewind.training.memory.memory_free", lambda: need(wide) * 2 // 3)
    with pytest.raises(CapacityError) as caught:
        check(wide)
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("it fits with batch.sequences_per_pass: 128;")
    check(wide.with_values(batch__sequences_per_pass=128))


def on_chips(**changes: Any) -> TrainSpec:
    return spec(model={"preset": "llama-3.1-8b"}, batch__tokens_per_sequence=8192, workers=1).with_values(**changes)


def test_chip_that_a_spec_names_must_hold_its_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tradewind.training.memory.is_local", lambda: False)
    wish = on_chips(where__chips=("H100-SXM",))
    said = r"needs about [\d.]+ GiB of each chip's memory, and 7\d\.\d GiB may be used of one H100-\S+: [\d.]+ GiB too"
    with pytest.raises(CapacityError, match=said) as caught:
        check(wish)
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("it fits with workers: 2")
    check(wish.with_values(workers=2, batch__sequences_per_pass=1))
    check(wish.with_values(where__chips=("cpu",)))


def test_model_that_no_smaller_batch_makes_fit_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tradewind.training.memory.memory_free", lambda: 2**30)
    with pytest.raises(CapacityError) as caught:
        check(on_chips())
    assert caught.value.hint is not None
    assert "no smaller batch of it fits" in caught.value.hint


@pytest.mark.parametrize(("axis", "size"), [("tensor", 4), ("pipeline", 4), ("shard", 4)])
def test_each_way_of_dividing_weights_needs_less_of_a_chip(axis: str, size: int) -> None:
    def need_of(wish: TrainSpec) -> int:
        return chip_need_bytes(wish, shape_of(wish.model, vocabulary=None, context=8192))

    one = on_chips(batch__sequences=4, batch__sequences_per_pass=1)
    assert need_of(one.with_values(workers=size, parallel={axis: size})) < need_of(one) / 2


@pytest.mark.parametrize("text", ["[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 4 bytes", None])
def test_worker_without_memory_left_says_what_to_change(text: str | None) -> None:
    error = RuntimeError(text) if text else MemoryError()
    with pytest.raises(CapacityError, match="a worker ran out of memory: ") as caught, shortage_told(spec()):
        raise error
    assert caught.value.hint == "write batch.sequences_per_pass: 4 or activations: full"


def test_other_errors_of_a_worker_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="shapes"), shortage_told(spec()):
        raise RuntimeError("shapes do not match")
