from __future__ import annotations

import pytest

from tradewind.families import known_model, known_models, parameters
from tradewind.planner import Layout
from tradewind.planner.stages import share, stages


@pytest.mark.parametrize("name", known_models())
def test_one_stage_has_all_weights(name: str) -> None:
    shape = known_model(name)
    (stage,) = stages(shape, 1)
    assert stage.outside + stage.routed == parameters(shape)
    assert stage.dense + stage.sparse == shape.layers


@pytest.mark.parametrize("name", known_models())
def test_two_stages_have_all_weights_and_a_tied_matrix_twice(name: str) -> None:
    shape = known_model(name)
    first, last = stages(shape, 2)
    assert last.dense + last.sparse == first.dense + first.sparse == -(-shape.layers // 2)
    doubled = sum(stage.outside + stage.routed for stage in (first, last))
    surplus = shape.layers % 2 * (last.block + last.routed // max(1, last.sparse))
    matrix = shape.vocabulary * shape.hidden
    assert doubled == parameters(shape) + surplus + (matrix if shape.tied else 0)


def test_chips_of_a_group_own_the_whole_together() -> None:
    (stage,) = stages(known_model("deepseek-v3"), 1)
    layout = Layout(shard=8, expert=16, tensor=2)
    mine = share(stage, layout)
    assert mine.own * layout.chips == pytest.approx(parameters(known_model("deepseek-v3")))
    assert mine.whole == pytest.approx(stage.outside / 2 + stage.routed / 32)
