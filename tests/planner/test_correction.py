from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import pytest

from tests.planner.h200 import H200, LLAMA_8B, ROWS, Row
from tradewind.catalog import Chip
from tradewind.catalog.chip import Precision
from tradewind.errors import IntegrityError
from tradewind.families import ModelShape
from tradewind.planner.correction import Corrector, Estimate, Query, shape_of
from tradewind.planner.layout import Layout, ServingSetup, TrainingSetup
from tradewind.planner.node import Node
from tradewind.planner.work import ServingWork, TrainingWork
from tradewind.records import Measurement

FIRST = next(row for row in ROWS if row.name == "torchtitan 8B")
REST = [row for row in ROWS if row is not FIRST]
SHAPES = tuple(
    replace(LLAMA_8B, hidden=hidden, layers=layers)
    for hidden, layers in ((1024, 16), (2048, 16), (4096, 32), (5120, 40), (8192, 80))
)


@dataclass(frozen=True)
class Job:
    chip: Chip
    shape: ModelShape
    layout: Layout
    length: int
    sequences: int
    precision: Precision
    predicted: float
    actual: float

    @property
    def query(self) -> Query:
        setup = TrainingSetup(self.layout, self.sequences // self.layout.data, 1)
        work = TrainingWork(self.shape, 1, self.sequences, self.length, self.precision)
        return Query.of_training(work, setup, Node(self.chip, 8, None, None, rdma=False), 2)

    def measurement(self, number: int) -> Measurement:
        return Measurement(
            measurement_id=f"job-{number}",
            work="training",
            chip=self.chip.name,
            chips_per_node=8,
            nodes=2,
            shape=asdict(self.shape),
            layout=asdict(self.layout),
            precision=self.precision,
            tokens_per_sequence=self.length,
            sequences=self.sequences,
            tokens_per_s=self.actual,
            predicted_tokens_per_s=self.predicted,
            source="run:synthetic",
        )


class World:
    """Chips that are off by a hidden factor each, by another for each model, with noise that differs between runs."""

    def __init__(self, seed: int, *, chips: int = 8) -> None:
        self.rng = np.random.default_rng(seed)
        self.chips = [
            replace(H200, name=f"chip-{number}", flops={"bf16": 1e14 * math.exp(self.rng.uniform(0, 3))})
            for number in range(chips)
        ]
        self.by_chip = self.rng.normal(0, 0.15, chips)
        self.by_shape = self.rng.normal(0, 0.05, (chips, len(SHAPES)))

    def job(self) -> Job:
        chip, shape = int(self.rng.integers(len(self.chips))), int(self.rng.integers(len(SHAPES)))
        ranks, predicted = 2 ** int(self.rng.integers(5)), math.exp(self.rng.normal(10, 1))
        noise = self.rng.normal(0, 0.01 + 0.04 * self.rng.random())
        return Job(
            chip=self.chips[chip],
            shape=SHAPES[shape],
            layout=Layout(shard=ranks),
            length=2 ** int(self.rng.integers(10, 14)),
            sequences=ranks * 2 ** int(self.rng.integers(4)),
            precision="fp8" if self.rng.random() < 0.3 else "bf16",
            predicted=predicted,
            actual=predicted * math.exp(self.by_chip[chip] + self.by_shape[chip, shape] + noise),
        )

    def jobs(self, count: int) -> list[Job]:
        return [self.job() for _ in range(count)]

    def corrector(self, jobs: Sequence[Job]) -> Corrector:
        logged = [job.measurement(number) for number, job in enumerate(jobs)]
        return Corrector(logged, chips={chip.name: chip for chip in self.chips})


def estimates(corrector: Corrector, jobs: Sequence[Job]) -> list[Estimate]:
    return [corrector.estimate(job.query, job.predicted) for job in jobs]


def coverage(found: Sequence[Estimate], jobs: Sequence[Job]) -> float:
    return float(np.mean([one.low <= job.actual <= one.high for one, job in zip(found, jobs, strict=True)]))


def width(found: Sequence[Estimate]) -> float:
    return float(np.mean([math.log(one.high / one.low) for one in found]))


@pytest.mark.parametrize("seed", range(6))
def test_nine_of_ten_of_300_jobs_lie_in_their_interval(seed: int) -> None:
    world = World(seed)
    corrector, held_out = world.corrector(world.jobs(200)), world.jobs(300)
    found = estimates(corrector, held_out)
    assert 0.85 <= coverage(found, held_out) <= 0.95
    assert width(found) < 0.5 * width(estimates(Corrector([]), held_out))


@pytest.mark.parametrize("seed", range(6))
def test_values_come_nearer_with_measurements(seed: int) -> None:
    world = World(seed)
    corrector, held_out = world.corrector(world.jobs(100)), world.jobs(300)
    before = [abs(math.log(job.actual / job.predicted)) for job in held_out]
    after = [
        abs(math.log(job.actual / one.value)) for job, one in zip(held_out, estimates(corrector, held_out), strict=True)
    ]
    assert np.mean(after) < 0.7 * np.mean(before)


@pytest.mark.parametrize("seed", range(6))
def test_interval_shrinks_after_five_runs(seed: int) -> None:
    world = World(seed, chips=1)
    held_out = world.jobs(50)
    assert width(estimates(world.corrector(world.jobs(5)), held_out)) < 0.8 * width(estimates(Corrector([]), held_out))


@pytest.mark.parametrize("row", REST, ids=lambda row: row.name)
def test_h200_steps_are_predicted_within_5_percent_after_one_measurement(row: Row) -> None:
    corrector = Corrector([FIRST.measurement()])
    query = Query.of_training(row.work, row.setup, row.node, 1)
    found = corrector.estimate(query, row.predicted().tokens_per_s)
    assert found.value == pytest.approx(row.all_tokens_per_s, rel=0.05)
    assert found.low <= row.all_tokens_per_s <= found.high


def on(chip: Chip, *, shape: ModelShape = LLAMA_8B) -> Query:
    work = TrainingWork(shape, 1, 1, 8192)
    return Query.of_training(work, TrainingSetup(Layout(), 1, 1), Node(chip, 1, None, None, rdma=False), 1)


def test_basis_says_how_near_the_measurements_are() -> None:
    small = replace(LLAMA_8B, hidden=512, layers=8)
    h100 = replace(H200, name="H100-SXM", memory_bytes_per_s=3.35e12)
    rocm = replace(h100, name="MI300X", runtime="rocm")
    corrector = Corrector([FIRST.measurement()], chips={H200.name: H200})
    found = [corrector.estimate(query, 1000.0) for query in (on(H200), on(H200, shape=small), on(h100), on(rocm))]
    assert [one.basis for one in found] == ["measured", "interpolated", "interpolated", "estimated"]
    widths = [width([one]) for one in found]
    assert widths == sorted(widths)


def test_far_from_everything_the_prediction_stays() -> None:
    rocm = replace(H200, name="MI300X", runtime="rocm")
    half = FIRST.measurement().model_copy(update={"tokens_per_s": 5000.0})
    assert Corrector([half]).estimate(on(rocm), 1000.0).value == pytest.approx(1000.0)
    assert Corrector([half]).estimate(on(H200), 1000.0).value < 600.0


def test_without_measurements_the_value_is_the_prediction() -> None:
    found = Corrector([]).estimate(on(H200), 1000.0)
    assert found.value == 1000.0
    assert found.low < 1000.0 < found.high
    assert found.basis == "estimated"


def test_one_wrong_measurement_among_many_moves_little() -> None:
    right = [FIRST.measurement().model_copy(update={"measurement_id": f"m{number}"}) for number in range(9)]
    wrong = right[0].model_copy(update={"measurement_id": "wrong", "tokens_per_s": 2 * FIRST.tokens_per_s})
    values = [Corrector(logged).estimate(on(H200), 1000.0).value for logged in (right, [*right, wrong])]
    assert values[1] / values[0] < 1.1


def test_measurements_without_a_prediction_are_left_out() -> None:
    bare = FIRST.measurement().model_copy(update={"predicted_tokens_per_s": None})
    assert Corrector([bare]).estimate(on(H200), 1000.0) == Corrector([]).estimate(on(H200), 1000.0)


def test_training_says_nothing_about_serving() -> None:
    work = ServingWork(LLAMA_8B, 1.0, 1.0, 512, 128, 1.0)
    query = Query.of_serving(work, ServingSetup(Layout(), 64), Node(H200, 1, None, None, rdma=False))
    assert Corrector([FIRST.measurement()]).estimate(query, 1000.0).basis == "estimated"


@pytest.mark.parametrize("broken", [{"shape": {"hidden": 8}}, {"layout": {"sideways": 2}}])
def test_measurement_that_cannot_be_read_is_named(broken: dict[str, dict[str, int]]) -> None:
    with pytest.raises(IntegrityError, match="measurement:torchtitan 8B does not say what was measured"):
        Corrector([FIRST.measurement().model_copy(update=broken)])


def test_shape_reads_back_and_ignores_what_is_newer() -> None:
    assert shape_of({**asdict(LLAMA_8B), "invented": 1}) == LLAMA_8B
