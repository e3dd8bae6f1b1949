"""Starts a training run on Ray Train and writes down how it ended.

Ray Train places the workers, forms their process group and starts them again when one is lost. What a run knows lives
in the workspace, not in Ray: metrics, checkpoints and the end are records, so a run can be followed from anywhere.
"""

from __future__ import annotations

import threading
import time
from importlib import metadata
from typing import Any

from tradewind.clusters import RaySession, is_local, this_machine, this_process
from tradewind.errors import ConflictError, RunError, SpecError, TradewindError
from tradewind.families import ModelShape, parameters, shape_of
from tradewind.ledger import Budgets, this_team
from tradewind.records import Prediction, RunStart, now
from tradewind.specs import TrainSpec
from tradewind.storage import Store
from tradewind.training.baseline import bigram_loss
from tradewind.training.data import TrainingData, check_small, newest_versions, open_data
from tradewind.training.memory import check_memory
from tradewind.training.run import Run, RunFiles
from tradewind.training.worker import Job, train

LIBRARIES = ("ray", "torch", "numpy", "tokenizers", "tradewind")


def prepare(store: Store, spec: TrainSpec) -> tuple[TrainingData, ModelShape]:
    """What a spec means in this workspace, checked.

    Raises NotFoundError, IntegrityError, CapacityError, or SpecError for text that is too short for one sequence and
    for a model that can be planned and not trained here.
    """
    data = open_data(store, spec, newest_versions(store, spec))
    vocabulary = data.datasets[0].tokenizer_file.vocabulary
    shape = shape_of(spec.model, vocabulary=vocabulary, context=spec.batch.tokens_per_sequence)
    check_blocks(shape)
    check_vocabulary(spec, shape, vocabulary)
    if is_local():
        check_memory(spec, shape)
    check_small(data)
    return data, shape


def check_blocks(shape: ModelShape) -> None:
    """Raises SpecError for blocks that `Decoder` does not know."""
    unknown = {
        "norms on queries and keys": shape.qk_norm,
        "biases": shape.qkv_bias,
        "latent attention": shape.latent,
        "experts": shape.experts,
    }
    if has := [name for name, there in unknown.items() if there]:
        raise SpecError(
            f"a model of family {shape.family!r} with {' and '.join(has)} can be planned, but not trained here yet",
            hint="train a model of Llama's blocks: family: llama, or a preset of it",
        )


def check_vocabulary(spec: TrainSpec, shape: ModelShape, tokens: int) -> None:
    """Raises SpecError for a vocabulary that lacks some of the data's `tokens`, or that nobody has asked for."""
    if shape.vocabulary < tokens or (shape.vocabulary != tokens and spec.model.vocabulary is None):
        raise SpecError(
            f"the model has a vocabulary of {shape.vocabulary}, the tokenizer of {spec.dataset} one of {tokens}",
            hint=f"write model.vocabulary: {tokens}, for the same blocks on these tokens",
        )


def start(
    store: Store,
    spec: TrainSpec,
    session: RaySession,
    data: TrainingData,
    shape: ModelShape,
    prediction: Prediction | None = None,
) -> Run:
    """Begin a run and return at once; `Run.wait` follows it. `prediction` is what it is expected to take."""
    run, datasets = _begin(store, spec, data, shape, prediction)
    job = Job(run=run, spec=spec, shape=shape, datasets=datasets, store=store, team=this_team())
    thread = threading.Thread(target=_drive, args=(job, session, data), name=run, daemon=True)
    thread.start()
    return Run(store, run, thread)


def _begin(
    store: Store, spec: TrainSpec, data: TrainingData, shape: ModelShape, prediction: Prediction | None
) -> tuple[str, dict[str, float]]:
    """Write the first record of a run. Its name ends with the second it began in; of two in one second one waits.

    Raises QuotaError, and writes nothing, when the budget of the team or of the run has no room for it.
    """
    weights = data.batches.mixture.weights
    datasets = {dataset.reference: float(weight) for dataset, weight in zip(data.datasets, weights, strict=True)}
    team, budgets = this_team(), Budgets(store)
    while True:
        began = now()
        record = RunStart(
            run=f"{spec.name}-{began:%Y%m%d-%H%M%S}",
            created_at=began,
            dataset=data.datasets[0].reference,
            datasets=datasets,
            parameters=parameters(shape),
            spec=spec.model_dump(mode="json"),
            machine=this_machine(),
            process=this_process(),
            versions={library: metadata.version(library) for library in LIBRARIES},
            parents=tuple(dataset.record.id for dataset in data.datasets),
            team=team,
            prediction=prediction,
        )
        projected_usd = prediction.usd.value if prediction else 0.0
        budgets.admit(team, projected_usd, record.run, budget_usd=spec.where.budget_usd)
        try:
            store.create(RunFiles(store, record.run).key("run.json"), record.to_json())
            return record.run, datasets
        except ConflictError:  # whose name this is, has the budget's reservation under it too
            time.sleep(1.0 - began.microsecond / 1e6)


def _drive(job: Job, session: RaySession, data: TrainingData) -> None:
    """Run Ray Train to its end, whatever that is, and write the end down."""
    try:
        baseline = None
        if len(data.datasets) == 1:  # of a mixture, no one dataset's counts are a fair baseline
            baseline = bigram_loss(data.datasets[0], tokens_per_sequence=job.spec.batch.tokens_per_sequence)
        _fit(job, session)
        Run(job.store, job.run).finish("finished", bigram_loss=baseline)
    except Exception as exc:  # noqa: BLE001 - the end of the thread: the failure becomes a record, which `wait` raises
        Run(job.store, job.run).finish("failed", error=_failure(job.run, exc))


def _fit(job: Job, session: RaySession) -> None:
    import ray.train.torch
    from ray.train.v2.api.config import FailureConfig, RunConfig, ScalingConfig

    from tradewind.training.failure import Trainer

    place = str(session.folder / "train") if session.folder else f"{job.store.url}/runs/{job.run}/ray"
    trainer = Trainer(
        run_worker,
        train_loop_config={"job": job},
        torch_config=ray.train.torch.TorchConfig(backend="gloo"),
        scaling_config=ScalingConfig(
            num_workers=job.spec.workers, resources_per_worker={"CPU": session.cpus_per_worker(job.spec.workers)}
        ),
        run_config=RunConfig(
            name=job.run,
            storage_path=place,
            failure_config=FailureConfig(max_failures=job.spec.max_failures),
        ),
    )
    trainer.fit()


def run_worker(config: dict[str, Any]) -> None:
    """What Ray Train calls in each worker."""
    train(config["job"])


def _failure(run: str, exc: Exception) -> RunError:
    """The one error that a person should read, from whatever Ray Train raised."""
    import ray.train

    from tradewind.training.failure import cause_of

    if not isinstance(exc, ray.train.WorkerGroupError):
        return RunError(f"run {run} failed: {exc}")
    causes = {rank: cause_of(error) for rank, error in exc.worker_failures.items()}
    failures = {rank: _last_line(cause) for rank, cause in causes.items()}
    known = next((cause for cause in causes.values() if isinstance(cause, TradewindError)), None)
    text = known.message if known else next(iter(failures.values()), str(exc))
    return RunError(f"run {run} failed: {text}", hint=known.hint if known else None, failures=failures)


def _last_line(cause: BaseException) -> str:
    if isinstance(cause, TradewindError):
        return f"{type(cause).__name__}: {cause.message}"
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return lines[-1] if lines else type(cause).__name__
