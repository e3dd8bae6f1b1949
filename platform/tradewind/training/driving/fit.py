"""One run on Ray Train, from its first group of workers to its end."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, cast

import ray
from ray.train.v2._internal.callbacks import DatasetsCallback
from ray.train.v2._internal.execution.scaling_policy import FixedScalingPolicy, ScalingPolicy
from ray.train.v2.api.callback import RayTrainCallback
from ray.train.v2.api.config import FailureConfig, RunConfig, ScalingConfig
from ray.train.v2.torch.torch_trainer import TorchTrainer

from tradewind.clusters import RaySession
from tradewind.errors import SpecError
from tradewind.specs import TrainSpec
from tradewind.training.driving.departures import Departures
from tradewind.training.driving.elastic import GentlePolicy
from tradewind.training.driving.failure import RemedyPolicy
from tradewind.training.driving.group import ProcessGroup
from tradewind.training.driving.places import Places
from tradewind.training.driving.ranks import Ranks
from tradewind.training.driving.spares import Spares
from tradewind.training.driving.warm import HOOK
from tradewind.training.driving.work import run_worker
from tradewind.training.job import Job, layout_of
from tradewind.training.run import RunFiles

SETTINGS = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",  # Ray's 2 s are time lost after each lost worker
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # a process more at each start; `Departures` is sooner
    "RAY_TRAIN_METRICS_ENABLED": "0",
}
GROW_EVERY_S = 30.0
"""How often a run that is smaller than it could be looks for room. Growing costs a restart."""


class Trainer(TorchTrainer):
    """Ray Train's trainer with our policies."""

    def __init__(self, *arguments: Any, scaling_policy: ScalingPolicy, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._scaling_policy = scaling_policy

    def _create_default_callbacks(self) -> list[RayTrainCallback]:
        """Without that for Ray's datasets, which starts a process with each group. Our workers read their own."""
        made = super()._create_default_callbacks()
        return [callback for callback in made if not isinstance(callback, DatasetsCallback)]

    def _initialize_and_run_controller(self, **arguments: Any) -> Any:
        policies = {
            "failure_policy": RemedyPolicy(cast("FailureConfig", self.run_config.failure_config)),
            "scaling_policy": self._scaling_policy,
        }
        return super()._initialize_and_run_controller(**{**arguments, **policies})


def fit(job: Job, session: RaySession, work: Callable[[dict[str, Any]], None] = run_worker) -> None:
    """Train to the end. Raises what Ray Train raises; `failure.run_error` reads it."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    spec = job.spec
    place = str(session.folder / "train") if session.folder else f"{job.store.url}/runs/{job.run}/ray"
    scaling = scaling_config(spec, session)
    trainer = Trainer(
        work,
        train_loop_config={"job": job},
        scaling_policy=scaling_policy(job, scaling),
        torch_config=ProcessGroup(backend="nccl" if scaling.use_gpu else "gloo"),
        scaling_config=scaling,
        run_config=RunConfig(
            name=job.run,
            storage_path=place,
            failure_config=FailureConfig(max_failures=spec.max_failures),
            callbacks=_callbacks(job),
            worker_runtime_env={"env_vars": {ray._private.ray_constants.WORKER_PROCESS_SETUP_HOOK_ENV_VAR: HOOK}},
        ),
    )
    trainer.fit()


def _callbacks(job: Job) -> list[Any]:
    """Ray Train takes its own kind too where it says `UserCallback`."""
    return [Ranks(job), Places(RunFiles(job.store, job.run)), Departures(), Spares()]


def scaling_config(spec: TrainSpec, session: RaySession) -> ScalingConfig:
    """One worker for each chip, or with a fair share of the processors where there is no chip to be had."""
    chip = accelerator(spec)
    least = spec.workers if spec.min_workers is None else spec.min_workers
    resources = {"GPU": 1.0, "CPU": 1.0} if chip else {"CPU": float(session.cpus_per_worker(spec.workers))}
    return ScalingConfig(
        num_workers=spec.workers if least == spec.workers else (least, spec.workers),
        use_gpu=chip is not None,
        resources_per_worker=resources,
        accelerator_type=chip or None,
        elastic_resize_monitor_interval_s=GROW_EVERY_S,
    )


def accelerator(spec: TrainSpec) -> str | None:
    """The chip that Ray shall look for: the one of the spec, "" for any, None for processors.

    Ray calls chips by its own names (`ray.util.accelerators`), which the catalogue's begin with: H100 for H100-SXM.
    """
    wanted = [chip for chip in spec.where.chips if chip.lower() != "cpu"]
    has_gpus = ray.cluster_resources().get("GPU", 0) > 0  # type: ignore[no-untyped-call]
    if not has_gpus or (spec.where.chips and not wanted):
        return None
    return wanted[0].partition("-")[0] if len(wanted) == 1 else ""


def scaling_policy(job: Job, scaling: ScalingConfig) -> ScalingPolicy:
    if not scaling.elasticity_enabled:
        return FixedScalingPolicy(scaling)
    return GentlePolicy(scaling, allowed_sizes(job))


def allowed_sizes(job: Job) -> frozenset[int]:
    """For how many workers, within its range, a run's model and batch can be cut."""
    least = job.spec.workers if job.spec.min_workers is None else job.spec.min_workers
    return frozenset(world for world in range(least, job.spec.workers + 1) if _can_be_cut(job, world))


def _can_be_cut(job: Job, world: int) -> bool:
    try:
        layout = layout_of(job, world)
    except SpecError:
        return False
    return layout.data_world <= job.spec.batch.sequences
