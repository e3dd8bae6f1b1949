from __future__ import annotations

from typing import Any

import pytest

from tradewind.families import ModelShape, shape_of
from tradewind.specs import TrainSpec
from tradewind.training.smaller import Changes, nearest


def spec(**changes: Any) -> TrainSpec:
    return TrainSpec.of(name="pilot", dataset="logbook").with_values(**changes)


def found(wish: TrainSpec, fits: Any, *, more_workers: bool = False) -> Changes | None:
    shape = shape_of(wish.model, vocabulary=1024, context=wish.batch.tokens_per_sequence)
    return nearest(wish, shape, fits, more_workers=more_workers)


def test_fewer_sequences_in_a_pass_come_first_and_as_many_as_fit() -> None:
    changes = found(spec(batch__sequences=64), lambda one, _: (one.batch.sequences_per_pass or 64) <= 20)
    assert changes == {"batch__sequences_per_pass": 16}


def test_activations_come_before_fewer_workers() -> None:
    assert found(spec(), lambda one, _: one.activations == "full" or one.workers == 1) == {"activations": "full"}


def test_where_each_worker_has_memory_there_are_more_of_them_that_divide() -> None:
    wish = spec(workers=2, batch__sequences=64)
    assert found(wish, lambda one, _: one.workers >= 8, more_workers=True) == {"workers": 8}


def test_workers_that_a_layout_does_not_allow_are_not_named() -> None:
    wish = spec(workers=4, parallel__tensor=2)
    changes = found(wish, lambda one, _: one.workers < 4)
    assert changes is not None
    assert changes["workers"] == 2


def test_smaller_model_comes_last_and_is_as_large_as_fits() -> None:
    def fits(_: TrainSpec, shape: ModelShape) -> bool:
        return shape.layers <= 3

    changes = found(spec(model__layers=8), fits)
    assert changes is not None
    assert changes["model__layers"] == 3


@pytest.mark.parametrize("preset", [None, "llama-3.1-8b"])
def test_nothing_is_named_where_nothing_fits(preset: str | None) -> None:
    assert found(spec(model={"preset": preset}), lambda *_: False) is None
