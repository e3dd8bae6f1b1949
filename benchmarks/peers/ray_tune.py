"""The sweep of `benchmarks/tuning.py` with plain Ray Tune: its own ASHA, its own restarts, the same samples."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

STEPS, STEP_S, AT_ONCE, SEED = 20, 0.25, 4, 7


def tune(folder: Path, *, killer: Any, scheduler: str, trials: int, resume: bool = False) -> dict[str, Any]:
    import logging

    import ray
    from ray import tune as ray_tune
    from ray.tune.schedulers import ASHAScheduler, FIFOScheduler
    from ray.tune.search import ConcurrencyLimiter
    from ray.tune.search.optuna import OptunaSearch

    from tests.tuning.wishes import toy_spec
    from tradewind.tuning.search import SeededSampler

    ray.init(
        address="local", num_cpus=AT_ONCE, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR
    )
    spec = toy_spec(trials=trials, parallel=AT_ONCE, seed=SEED, max_steps=STEPS, scheduler=scheduler)
    began = time.monotonic()
    killer.start()
    trainable = ray_tune.with_resources(_train, {"cpu": 1})
    place = folder / "tune"
    if resume:
        tuner = ray_tune.Tuner.restore(str(place / "sweep"), trainable, resume_unfinished=True, resume_errored=True)
    else:
        search = OptunaSearch(_space, metric="loss", mode="min", sampler=SeededSampler(spec))
        judge = (
            ASHAScheduler(time_attr="training_iteration", max_t=STEPS, grace_period=5, reduction_factor=2)
            if scheduler == "asha"
            else FIFOScheduler()  # type: ignore[no-untyped-call]
        )
        tuner = ray_tune.Tuner(
            trainable,
            tune_config=ray_tune.TuneConfig(
                metric="loss", mode="min", num_samples=trials, scheduler=judge,
                search_alg=ConcurrencyLimiter(search, max_concurrent=AT_ONCE), max_concurrent_trials=None,
            ),
            run_config=ray_tune.RunConfig(
                name="sweep", storage_path=str(place), verbose=0,
                failure_config=ray_tune.FailureConfig(max_failures=10),
            ),
        )  # fmt: skip
    results = tuner.fit()
    wall_s = time.monotonic() - began
    best = results.get_best_result(scope="all")
    assert best.config and best.metrics_dataframe is not None  # noqa: PT018
    objective = float(best.metrics_dataframe["loss"].min())
    found = {
        "wall_s": round(wall_s, 2),
        "ended": len(results) - results.num_errors,
        "failed_trials": results.num_errors,
        "best": {key: round(best.config[key], 6) for key in ("learning_rate", "weight_decay")},
        "objective": round(objective, 5),
    }
    ray.shutdown()
    return found


def _space(trial: Any) -> None:
    trial.suggest_float("learning_rate", 1e-5, 1e-1, log=True)
    trial.suggest_float("weight_decay", 0.0, 1.0)


def _train(config: dict[str, Any]) -> None:
    from ray import tune as ray_tune

    from tests.tuning.sea import note, objective

    step = 0
    if checkpoint := ray_tune.get_checkpoint():
        with checkpoint.as_directory() as place:
            step = json.loads((Path(place) / "state.json").read_text())
    name = ray_tune.get_context().get_trial_id()
    while step < STEPS:
        time.sleep(STEP_S)
        step += 1
        note(name, step)
        loss = objective(config["learning_rate"], config["weight_decay"], step)
        if step % 5:
            ray_tune.report({"loss": loss, "step": step})
            continue
        with tempfile.TemporaryDirectory() as place:
            (Path(place) / "state.json").write_text(json.dumps(step))
            ray_tune.report({"loss": loss, "step": step}, checkpoint=ray_tune.Checkpoint.from_directory(place))
