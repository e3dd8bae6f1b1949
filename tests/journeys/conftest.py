"""One small journey through everything, made once, that several tests look at."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

import tradewind as tw
from tests.conftest import free_port
from tradewind.datasets import Dataset
from tradewind.registry import Model
from tradewind.serving import Endpoint
from tradewind.training import Run


@dataclass(frozen=True)
class Journey:
    """What the journey has made, with its endpoint still up."""

    workspace: tw.Workspace
    dataset: Dataset
    run: Run
    model: Model
    endpoint: Endpoint


def small_dataset(name: str = "shelf") -> tw.DatasetSpec:
    """A few packages of the standard library: enough text for seconds of training."""
    return tw.DatasetSpec.of(
        name=name,
        text={"files": ["{stdlib}/json/*.py", "{stdlib}/email/*.py", "{stdlib}/http/*.py", "{stdlib}/logging/*.py"]},
        tokenizer={"vocabulary": 400},
        heldout_fraction=0.1,
    )


def small_run(dataset: str, **changes: object) -> tw.TrainSpec:
    values: dict[str, object] = {
        "name": "shelf",
        "dataset": dataset,
        "model": {"hidden": 64, "layers": 2, "heads": 2},
        "batch": {"sequences": 8, "tokens_per_sequence": 64},
        "max_steps": 60,
        "checkpoint_every_s": 2,
        "workers": 2,
    }
    return tw.TrainSpec.of(**(values | changes))


@pytest.fixture(scope="module", autouse=True)
def no_ray_is_left() -> None:
    """The journey's own stays for all files of this folder."""


HELD = ExitStack()
"""The journey's workspace, with its Ray."""


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """The journey ends with the last test of this folder: the next file's Ray is not to be the journey's."""
    if nextitem is None or Path(__file__).parent not in nextitem.path.parents:
        HELD.close()


@pytest.fixture(scope="session")
def journey(tmp_path_factory: pytest.TempPathFactory) -> Journey:
    workspace = HELD.enter_context(tw.Workspace(str(tmp_path_factory.mktemp("journey"))))
    dataset = workspace.datasets.add(small_dataset())
    run = workspace.train(small_run(dataset.reference)).wait()
    model = workspace.models.register(run.best, name="shelf", alias="prod")
    endpoint = workspace.serve(tw.ServeSpec.of(name="shelf", model="shelf@prod", port=free_port()))
    return Journey(workspace, dataset, run, model, endpoint)
