"""What each command in benchmarks/ ends with: its figures beside their targets."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
COMMANDS = {path.name: path.read_text() for path in FOLDER.glob("*.py") if "if __name__" in path.read_text()}
WITHOUT_FIGURES_OF_THEIR_OWN = {"serving_client.py"}
Targets = Callable[..., dict[str, dict[str, Any]]]


def test_every_command_names_its_targets() -> None:
    without = {name for name, text in COMMANDS.items() if '"targets"' not in text}
    assert without == WITHOUT_FIGURES_OF_THEIR_OWN


@pytest.fixture
def command() -> Iterator[Callable[[str], Any]]:
    """Imports a command. What it sets at its start, for its own process, is undone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [*sys.path])
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            patch.setenv(name, "1")
        yield lambda name: importlib.import_module(f"benchmarks.{name}")


def values(found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    assert all(one["better"] in ("higher", "lower") and "target" in one for one in found.values())
    assert json.loads(json.dumps(found)) == found
    return {name: one["value"] for name, one in found.items()}


# Autoscaling


@pytest.fixture
def result(command: Callable[[str], Any]) -> Callable[..., Any]:
    module = command("autoscaling")

    def make(name: str, violation_s: float, replica_s: float, reversals: float = 0) -> Any:
        return module.Result(module.Entrant(name, name), [violation_s], [replica_s], 9, reversals)

    return make


@pytest.fixture
def policies(command: Callable[[str], Any]) -> Targets:
    targets: Targets = command("autoscaling").targets
    return targets


def test_rivals_seconds_are_the_target_of_the_best_of_ours_that_costs_no_more(
    policies: Targets, result: Callable[..., Any]
) -> None:
    ours = [result("tokens", 80, 900), result("tokens", 200, 600), result("tokens", 500, 500)]
    found = policies([result("classic", 1276, 650), result("cheap", 900, 400)], ours, [])
    assert found["violation_s beside classic"] == {
        "value": 200,
        "target": 1276,
        "better": "lower",
        "replica_s": {"tokens": 600, "classic": 650},
    }
    assert values(found)["violation_s beside cheap"] is None


def test_tuned_configurations_are_beaten_only_where_ours_misses_less_and_costs_no_more(
    policies: Targets, result: Callable[..., Any]
) -> None:
    tuned = [result("serve", 201, 600), result("serve", 200, 600), result("serve", 300, 599)]
    found = policies([], [result("tokens", 200, 600, reversals=2)], tuned)
    assert found["tuned configurations beaten"] == {"value": 1, "target": 3, "better": "higher"}
    assert found["reversals within 10 s"] == {"value": 2, "target": 0, "better": "lower"}


def test_reaction_is_the_median_of_the_rounds(command: Callable[[str], Any]) -> None:
    rounds = [{"0 to 1, first token": one, "1 to 2, ready": 7.0, "1 to 3, ready": 2 * one} for one in (6.6, 5.1, 5.0)]
    found = command("autoscaling_reaction").targets(rounds, (200, 201))
    assert values(found) == {
        "0 to 1, first token": 5.1,
        "1 to 3, ready": 10.2,
        "looks decided again as they were": 200,
    }
    assert [one["target"] for one in found.values()] == [5.0, 6.0, 201]


def test_reaction_of_a_spare_has_a_target_of_its_own(command: Callable[[str], Any]) -> None:
    rounds = [{"1 to 2, with requests": 1.7, "1 to 2, decided": 3.0}]
    found = command("autoscaling_reaction").targets(rounds, (9, 9))
    assert found["1 to 2, with requests"] == {"value": 1.7, "target": 1.0, "better": "lower"}
    assert "0 to 1, first token" not in found


# Serving


def batches(clients: int) -> dict[str, Any]:
    over = {"alone": 0.0, "ours": 0.19, "serve": 11.4, "serve0": 0.33}
    times = {"alone": 1.0, "ours": 6.8, "serve": 2.3, "serve0": 5.9}
    return {"settings": {"clients": clients}, "over_alone_ms": over, "times_alone": times}


def test_batches_are_told_beside_those_of_serve(command: Callable[[str], Any]) -> None:
    found = command("batching").targets(batches(clients=128))
    assert values(found) == {"over_alone_ms": 0.19, "times_alone": 6.8}
    assert found["times_alone"]["peers"] == {"serve": 2.3, "serve0": 5.9}


def test_batches_of_other_clients_have_no_target(command: Callable[[str], Any]) -> None:
    assert values(command("batching").targets(batches(clients=8))) == {"over_alone_ms": 0.19}


def served(each_s: float = 0.005) -> dict[str, Any]:
    ratios = {"bare": 1.0, "replica": 1.07, "front": 1.04, "in Ray": 0.94, "ray.serve.llm": 0.13}
    cells = [
        {"name": name, "mode": mode, "concurrency": concurrency, "ratio": ratio if mode == "stream" else 9.0}
        for mode, concurrency in (("stream", 32), ("unary", 32))
        for name, ratio in ratios.items()
    ]
    return {"each_s": each_s, "cells": cells, "abandoned_ms": {"median": 4.7, "most": 13.3}}


def test_rate_is_that_of_32_streams_beside_the_peer(command: Callable[[str], Any]) -> None:
    found = command("serving").targets(served())
    gone = "slot free after a client has gone, ms"
    replica, in_ray = "replica, of bare at 32 streams", "in Ray, of bare at 32 streams"
    assert values(found) == {replica: 1.07, in_ray: 0.94, gone: 13.3}
    assert found[in_ray]["peers"] == {"ray.serve.llm": 0.13}


def test_rate_beside_an_engine_that_takes_no_time_has_no_target(command: Callable[[str], Any]) -> None:
    assert list(command("serving").targets(served(each_s=0))) == ["slot free after a client has gone, ms"]


# Tuning


def sweep(system: str = "tradewind", *, kills: int = 0, trials: int = 16, **figures: Any) -> dict[str, Any]:
    return {"system": system, "scheduler": "none", "kills": kills, "trials": trials, **figures}


def test_sweep_with_kills_is_told_beside_one_without(command: Callable[[str], Any]) -> None:
    whole: dict[str, Any] = {"wall_s": 22.0, "machine_s": 80.0, "overhead_s": 0.5}
    kills: dict[str, Any] = {"killed": 5, "again": 10, "recovery_s": [0.2, 0.4]}
    lossy: dict[str, Any] = {"wall_s": 23.1, "machine_s": 88.0, "overhead_s": 0.7, **kills}
    plain = [sweep("ray", wall_s=40.0), sweep("ray", kills=5, wall_s=50.0)]
    found = command("tuning").targets([sweep(**whole), sweep(kills=5, **lossy), *plain])
    assert values(found) == {
        "overhead_s, 0 kills": 0.5,
        "wall_s beside no kills, 5 kills": 1.05,
        "machine_s beside no kills, 5 kills": 1.1,
        "steps made again a kill, 5 kills": 2,
        "kill to next step, s, 5 kills": pytest.approx(0.3),
        "overhead_s, 5 kills": 0.7,
    }
    assert found["wall_s beside no kills, 5 kills"]["ray_tune"] == 1.25
    assert found["machine_s beside no kills, 5 kills"]["ray_tune"] is None


def test_other_parts_of_tuning_are_kept_apart(command: Callable[[str], Any]) -> None:
    runs = [
        sweep(trials=50, wall_s=50.6, overhead_s=0.4),
        {**sweep(kills=5, wall_s=19.9), "scheduler": "asha"},
        {**sweep(driver_after=73, to_first_step_s=11.1, again=6, ended=15), "scheduler": "asha"},
    ]
    found = command("tuning").targets(runs)
    assert values(found) == {
        "wall_s, many": 50.6,
        "to_first_step_s, driver": 11.1,
        "again, driver": 6,
        "trials lost, driver": 1,
    }


def test_sweep_that_failed_has_no_value(command: Callable[[str], Any]) -> None:
    found = command("tuning").targets([sweep(failed="Traceback"), sweep(trials=50, failed="Traceback")])
    assert values(found) == {"overhead_s, 0 kills": None, "wall_s, many": None}
