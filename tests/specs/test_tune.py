from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tradewind.errors import SpecError
from tradewind.specs import TrainSpec, TuneSpec, load

TRAIN = {"name": "boat", "dataset": "logbook", "workers": 1, "model": {"heads": 4}}
SPACE: dict[str, Any] = {
    "optimizer.learning_rate": {"log_uniform": [1e-4, 1e-2]},
    "optimizer.schedule": {"choice": ["linear", "constant"]},
    "optimizer.warmup_steps": {"int": [0, 20], "when": {"optimizer.schedule": "linear"}},
}


def tune(**changes: Any) -> TuneSpec:
    return TuneSpec.of(**{"name": "sweep", "train": TRAIN, "space": SPACE, **changes})


def test_values_become_a_training_spec() -> None:
    spec = tune()
    trained = spec.train_with({"optimizer.learning_rate": 0.005, "optimizer.schedule": "constant"}, name="sweep-007")
    assert isinstance(trained, TrainSpec)
    assert (trained.name, trained.optimizer.learning_rate, trained.optimizer.schedule) == (
        "sweep-007",
        0.005,
        "constant",
    )
    assert trained.optimizer.warmup_steps == spec.train.optimizer.warmup_steps


def test_conditions_say_which_parameters_there_are() -> None:
    spec = tune(space=dict(reversed(SPACE.items())))
    assert spec.in_order().index("optimizer.schedule") < spec.in_order().index("optimizer.warmup_steps")
    assert spec.applies("optimizer.warmup_steps", {"optimizer.schedule": "linear"})
    assert not spec.applies("optimizer.warmup_steps", {"optimizer.schedule": "constant"})
    assert not spec.applies("optimizer.warmup_steps", {})


def test_train_may_be_a_file_beside_the_spec(tmp_path: Path) -> None:
    (tmp_path / "boat.yaml").write_text("kind: train\nname: boat\ndataset: logbook\nworkers: 1\n")
    path = tmp_path / "sweep.yaml"
    path.write_text("kind: tune\nname: sweep\ntrain: boat.yaml\nscheduler: median\nspace:\n  seed: {int: [1, 3]}\n")
    spec = load(path)
    assert isinstance(spec, TuneSpec)
    assert spec.train.name == "boat"
    assert spec.scheduler.kind == "median"
    assert TuneSpec.of(**spec.model_dump()) == spec


def test_mistakes_name_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(
        "kind: tune\nname: sweep\ntrain: {name: boat, dataset: logbook}\nspace:\n  optimizer.learnrate: {int: [1, 3]}\n"
    )
    with pytest.raises(SpecError, match=r"sweep\.yaml:5: space\.optimizer\.learnrate: .*'learning_rate'"):
        load(path)


@pytest.mark.parametrize(
    ("space", "complaint"),
    [
        ({}, "space is empty"),
        ({"seed": {}}, "give one of uniform, log_uniform, int, log_int, choice"),
        ({"seed": {"int": [1, 2], "choice": [1]}}, "not int and choice"),
        ({"seed": {"int": [2, 2]}}, "int from 2 to 2 is empty"),
        ({"seed": {"choice": []}}, "choice is empty"),
        ({"seed": {"choice": [1, 1]}}, "choice has a value twice"),
        ({"seed": {"log_int": [0, 4]}}, "needs numbers above 0"),
        ({"seed": {"int": [-1, 4]}}, "-1 is refused"),
        ({"name": {"choice": ["a", "b"]}}, "a name of its own"),
        ({"optimizer.betas.first": {"uniform": [0, 1]}}, "has no 'optimizer.betas.first'"),
        ({"optimizer.schedule": {"choice": ["linear", "lineal"]}}, "'lineal' is refused"),
        ({"seed": {"int": [1, 2], "when": {"max_steps": 3}}}, "which is not in the space"),
        ({"seed": {"int": [1, 2]}, "max_steps": {"int": [1, 9], "when": {"seed": 7}}}, "which it never is"),
        (
            {"seed": {"int": [1, 2], "when": {"max_steps": 1}}, "max_steps": {"int": [1, 2], "when": {"seed": 1}}},
            "leads back to itself",
        ),
    ],
)
def test_empty_and_contradictory_spaces_are_refused(space: dict[str, Any], complaint: str) -> None:
    with pytest.raises(SpecError, match=complaint):
        tune(space=space)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"chips_per_trial": 1.5}, "neither a whole number nor a part"),
        ({"chips_per_trial": 0.5, "train": {**TRAIN, "workers": 2}}, "have a chip each"),
        ({"trials": 0}, "trials"),
        ({"max_price": 0}, "max_price"),
        ({"budget_usd": -1}, "budget_usd"),
        ({"scheduler": "hyperband"}, "hyperband"),
        ({"scheduler": "pbt", "space": {"model.layers": {"int": [1, 2]}}}, "pbt changes values of a model that trains"),
    ],
)
def test_contradictory_limits_are_refused(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(SpecError, match=complaint):
        tune(**changes)


def test_a_choice_may_be_of_any_kind() -> None:
    spec = tune(space={"optimizer.betas": {"choice": [[0.9, 0.95], [0.9, 0.99]]}})
    assert spec.train_with({"optimizer.betas": [0.9, 0.99]}).optimizer.betas == (0.9, 0.99)
    assert spec.space["optimizer.betas"].has((0.9, 0.95))
    assert not spec.space["optimizer.betas"].has([0.5, 0.95])
