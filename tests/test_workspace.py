"""What the one object of the SDK works out before it hands over."""

from __future__ import annotations

from typing import Any

import pytest

from tests.clusters.render.test_from_plan import placement
from tradewind.errors import SpecError
from tradewind.specs import TrainSpec
from tradewind.workspace import on_machines


def spec(**changes: Any) -> TrainSpec:
    wish = {"dataset": "logbook", "batch": {"sequences": 32}, "workers": 2, "min_workers": 1}
    return TrainSpec.of(name="pilot", **(wish | changes))


def test_placement_with_chips_lays_the_run_out_as_it_was_planned() -> None:
    layout = {"replicate": 1, "shard": 2, "expert": 2, "context": 1, "tensor": 2, "pipeline": 1}
    planned = placement(chip="L4", chips=8, layout=layout, micro_batch=4, recompute="selective", precision="fp8")
    made = on_machines(spec(), planned)
    assert (made.workers, made.min_workers, made.where.chips) == (8, None, ("L4",))
    assert (made.parallel.shard, made.parallel.expert, made.parallel.tensor) == (4, 2, 2)
    assert (made.batch.sequences_per_pass, made.activations, made.precision.compute) == (4, "selective", "float8")


def test_placement_without_chips_has_a_worker_for_each_machine() -> None:
    assert on_machines(spec(), placement(chip="", chips=3, machines=3)) == spec(workers=3)


def test_placement_on_this_machine_changes_nothing() -> None:
    assert on_machines(spec(), placement(cloud="local", chip="")) == spec()


@pytest.mark.parametrize("values", [{"chip": "TPU-v5e"}, {"chip": "V100-SXM-16GB", "precision": "fp16"}])
def test_placement_that_is_not_trained_on_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match="is not trained on"):
        on_machines(spec(), placement(**values))
