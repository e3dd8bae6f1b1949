from __future__ import annotations

from pathlib import Path

import pytest

from tests.reports.conftest import journey
from tests.samples import dataset_spec, write_text
from tradewind.clusters import this_machine
from tradewind.datasets import Datasets
from tradewind.planner.measurements import keep, measurements
from tradewind.planner.prediction import predict, taught
from tradewind.records import Machine, Prediction, RunEnd, RunStart
from tradewind.specs import TrainSpec
from tradewind.storage import Store, open_store

SPEC = TrainSpec.of(name="pilot", dataset="logbook", max_steps=1000, workers=1)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = open_store(str(tmp_path / "workspace"))
    Datasets(store).add(dataset_spec(write_text(tmp_path / "text")))
    return store


@pytest.fixture
def machine() -> Machine:
    return this_machine().model_copy(update={"usd_per_hour": 3.6})


def run(prediction: Prediction, *, tokens_per_s: float, steps: int = 1000) -> tuple[RunStart, RunEnd]:
    story = journey()
    spec = SPEC.model_dump(mode="json")
    start = story.start.model_copy(update={"prediction": prediction, "spec": spec, "run": f"pilot-{tokens_per_s:.0f}"})
    assert story.end
    return start, story.end.model_copy(update={"tokens_per_s": tokens_per_s, "steps": steps})


def predicted(store: Store, machine: Machine, spec: TrainSpec = SPEC) -> Prediction:
    found = predict(store, spec, machine)
    assert found
    return found


def test_first_prediction_is_an_estimate_with_a_wide_interval(store: Store, machine: Machine) -> None:
    first = predicted(store, machine)
    assert first.basis == "estimated"
    assert first.tokens_per_s.high > 3 * first.tokens_per_s.low
    assert first.usd.value == pytest.approx(first.seconds.value * 0.001)
    assert first.tokens == 1000 * 16 * 128


def test_run_that_has_finished_makes_the_next_prediction_measured(store: Store, machine: Machine) -> None:
    first = predicted(store, machine)
    actual = first.tokens_per_s.value / 4
    measurement = taught(store, *run(first, tokens_per_s=actual))
    assert measurement
    keep(store, measurement)
    second = predicted(store, machine)
    assert second.basis == "measured"
    assert second.tokens_per_s.value == pytest.approx(actual, rel=0.1)
    assert second.estimated_tokens_per_s == first.estimated_tokens_per_s
    assert second.tokens_per_s.high / second.tokens_per_s.low < first.tokens_per_s.high / first.tokens_per_s.low


def test_measurement_of_another_machine_does_not_count_as_this_one(store: Store, machine: Machine) -> None:
    first = predicted(store, machine)
    measurement = taught(store, *run(first, tokens_per_s=first.tokens_per_s.value / 4))
    assert measurement
    keep(store, measurement.model_copy(update={"chip": "Other x64"}))
    assert predicted(store, machine).basis != "measured"


def test_run_of_few_steps_or_without_a_prediction_teaches_nothing(store: Store, machine: Machine) -> None:
    start, end = run(predicted(store, machine), tokens_per_s=1e4, steps=3)
    assert taught(store, start, end) is None
    assert taught(store, start.model_copy(update={"prediction": None}), end.model_copy(update={"steps": 99})) is None


def test_time_limit_bounds_what_is_predicted(store: Store, machine: Machine) -> None:
    short = predicted(store, machine, SPEC.with_values(max_steps=10**9, max_time_s=20.0))
    assert short.seconds.high <= 20.0 + 10.0
    assert short.tokens < 10**9 * 16 * 128


def test_model_that_does_not_fit_is_not_predicted(store: Store, machine: Machine) -> None:
    vast = SPEC.with_values(model={"preset": "llama-3.1-405b"})
    assert predict(store, vast, machine) is None


def test_measurements_are_kept_once(store: Store, machine: Machine) -> None:
    measurement = taught(store, *run(predicted(store, machine), tokens_per_s=5e3))
    assert measurement
    keep(store, measurement)
    keep(store, measurement)
    assert measurements(store) == [measurement]
