from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tradewind.planner import Layout, TrainingSetup

axes = st.integers(1, 16)


@given(axes, axes, axes, axes, axes, axes)
def test_axes_multiply_to_the_chips(
    replicate: int, shard: int, expert: int, context: int, tensor: int, pipeline: int
) -> None:
    layout = Layout(replicate, shard, expert, context, tensor, pipeline)
    assert layout.chips == layout.data * context * tensor * pipeline
    assert TrainingSetup(layout, 2, 3).sequences == 6 * replicate * shard * expert


def test_layout_names_the_axes_that_it_has() -> None:
    assert str(Layout(shard=8, tensor=2)) == "shard 8 × tensor 2"
    assert str(Layout()) == "one chip"
