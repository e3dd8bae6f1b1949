"""What Prometheus is told of a run. Ray's metrics stand aside here; `driving/test_live_elastic.py` asks a real Ray."""

from __future__ import annotations

import time
from typing import Any

import pytest
import ray.util.metrics

from tradewind.records import StepMetrics
from tradewind.training.gauges import COUNTERS, EVERY_S, GAUGES, Gauges, gauges_of, set_workers


class Ray:
    """Keeps what was set, and how often."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.values: dict[str, float] = {}
        self.calls = 0
        ours = self

        class Gauge:
            def __init__(self, name: str, **_: Any) -> None:
                self.name = name.removeprefix("tradewind_train_")

            def set(self, value: float | None, tags: dict[str, str]) -> None:
                assert tags == {"run": "r1"}
                ours.calls += 1
                if value is not None:
                    ours.values[self.name] = value

        class Counter(Gauge):
            def inc(self, value: float, tags: dict[str, str]) -> None:
                assert value > 0, "Ray refuses others"
                self.set(ours.values.get(self.name, 0.0) + value, tags)

        monkeypatch.setattr(ray.util.metrics, "Gauge", Gauge)
        monkeypatch.setattr(ray.util.metrics, "Counter", Counter)


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> Ray:
    return Ray(monkeypatch)


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def row(step: int, **changes: Any) -> StepMetrics:
    numbers = {"loss": 3.0, "learning_rate": 0.1, "grad_norm": 1.0, "tokens_per_s": 320.0, "data_seconds": 0.01}
    return StepMetrics(
        attempt="a", step=step, tokens=64 * step, seconds=0.2 * step, cpu_seconds=1.0, **numbers | changes
    )


def test_outside_of_ray_nothing_is_exported() -> None:
    assert not ray.is_initialized()
    assert gauges_of("r1") is None


def test_gauges_show_the_last_step_and_counters_all_of_this_process(exported: Ray) -> None:
    gauges = Gauges("r1")
    for step in range(101, 111):
        gauges.take(row(step, loss=1 / step))
    gauges.set()
    found = exported.values
    assert (found["step"], found["loss"], found["tokens_per_second"]) == (110, 1 / 110, 320.0)
    assert (found["steps"], found["tokens"]) == (10, 640)
    assert found["step_seconds"] == pytest.approx(10 * 64 / 320)
    assert found["data_wait_seconds"] == pytest.approx(0.1)


def test_what_is_not_known_is_not_shown(exported: Ray) -> None:
    Gauges("r1").take(row(1))
    assert not {"mfu_ratio", "communication_seconds", "heldout_loss", "checkpoints"} & set(exported.values)


def test_checkpoint_is_shown_at_once(exported: Ray, clock: Clock) -> None:
    gauges = Gauges("r1")
    gauges.take(row(1))
    gauges.take(row(2, heldout_loss=2.5, stopped_seconds=0.3))
    found = exported.values
    assert (found["step"], found["heldout_loss"], found["checkpoints"], found["checkpoint_seconds"]) == (2, 2.5, 1, 0.3)


def test_steps_between_two_moments_cost_nothing(exported: Ray, clock: Clock) -> None:
    gauges = Gauges("r1")
    gauges.take(row(1))
    calls = exported.calls
    for step in range(2, 1000):
        gauges.take(row(step))
    assert exported.calls == calls
    clock.now += EVERY_S
    gauges.take(row(1000))
    assert (exported.values["step"], exported.values["steps"]) == (1000, 1000)
    assert exported.calls - calls <= len(GAUGES) + len(COUNTERS)


def test_group_that_never_made_a_step_shows_none(exported: Ray) -> None:
    Gauges("r1").set()
    assert exported.values == {}


def test_driver_shows_workers_and_restarts_from_the_beginning(exported: Ray) -> None:
    set_workers("r1", workers=4, restarts=0)
    assert exported.values == {"workers": 4, "restarts": 0}
