"""What Ray Train is asked for."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
import ray

from tests.samples import VOCABULARY
from tradewind.clusters import RaySession
from tradewind.families import family
from tradewind.specs import TrainSpec
from tradewind.storage import open_store
from tradewind.training.driving.fit import accelerator, allowed_sizes, scaling_config
from tradewind.training.job import Job


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """What the cluster has."""
    resources: dict[str, float] = {"CPU": 8.0}
    monkeypatch.setattr(ray, "cluster_resources", lambda: resources)
    return resources


def job(**changes: Any) -> Job:
    spec = TrainSpec.of(
        name="pilot", dataset="logbook", model={"hidden": 32, "layers": 4, "heads": 4, "tied": False}, workers=8
    ).with_values(**changes)
    shape = family("llama").shape(spec.model, vocabulary=VOCABULARY, context=spec.batch.tokens_per_sequence)
    store = open_store(f"memory://{uuid.uuid4().hex}")
    return Job(run="r1", spec=spec, shape=shape, datasets={"logbook@1": 1.0}, store=store)


def test_run_without_a_range_has_one_size() -> None:
    assert allowed_sizes(job()) == {8}


def test_run_with_a_range_has_every_size_in_it() -> None:
    assert allowed_sizes(job(min_workers=5)) == {5, 6, 7, 8}


def test_sizes_that_the_axes_do_not_divide_are_left_out() -> None:
    assert allowed_sizes(job(min_workers=1, parallel__tensor=2)) == {2, 4, 6, 8}
    assert allowed_sizes(job(min_workers=1, parallel__tensor=2, parallel__replicate=2)) == {4, 8}


def test_sizes_with_workers_that_would_have_no_sequence_are_left_out() -> None:
    assert max(allowed_sizes(job(min_workers=1, batch__sequences=8, workers=8))) == 8
    assert max(allowed_sizes(job(min_workers=1, batch__sequences=8, workers=16, parallel__tensor=2))) == 16


def test_worker_takes_a_processor_where_there_is_no_chip(gpus: dict[str, float]) -> None:
    scaling = scaling_config(job().spec, RaySession())
    assert (scaling.num_workers, scaling.use_gpu, scaling.accelerator_type) == (8, False, None)
    assert scaling.resources_per_worker == {"CPU": 1.0}


def test_worker_takes_a_chip_where_there_are_some(gpus: dict[str, float]) -> None:
    gpus["GPU"] = 8.0
    scaling = scaling_config(job(min_workers=4).spec, RaySession())
    assert (scaling.num_workers, scaling.use_gpu) == ((4, 8), True)
    assert (scaling.num_gpus_per_worker, scaling.num_cpus_per_worker) == (1, 1)


@pytest.mark.parametrize(
    ("chips", "asked"), [((), ""), (("H100-SXM",), "H100"), (("H100-SXM", "H200-SXM"), ""), (("cpu",), None)]
)
def test_chip_of_the_spec_is_asked_for_by_its_name_in_ray(
    gpus: dict[str, float], chips: tuple[str, ...], asked: str | None
) -> None:
    gpus["GPU"] = 1.0
    assert accelerator(job(where={"chips": chips}).spec) == asked
