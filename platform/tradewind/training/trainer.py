"""Starts a training run on Ray Train and writes down how it ended.

Ray Train places the workers, forms their process group and starts them again when one is lost. What a run knows lives
in the workspace, not in Ray: metrics, checkpoints and the end are records, so a run can be followed from anywhere.
"""

from __future__ import annotations

import contextlib
import time

from tradewind.clusters import RaySession, this_machine, this_process
from tradewind.datasets import Datasets
from tradewind.errors import ConflictError, NotFoundError, RunError, SpecError, StorageError
from tradewind.families import ModelShape, parameters, shape_of
from tradewind.ledger import Budgets, this_team
from tradewind.records import Prediction, RunStart, now
from tradewind.specs import TrainSpec
from tradewind.storage import Store
from tradewind.training.baseline import bigram_loss
from tradewind.training.checkpoint import remove_orphans
from tradewind.training.control import is_asked_to_stop
from tradewind.training.data import TrainingData, check_small, newest_versions, open_data
from tradewind.training.job import Job, layout_for
from tradewind.training.memory import check_memory
from tradewind.training.origin import check_origin
from tradewind.training.run import Driver, Run, RunFiles, check_over, take_up
from tradewind.versions import versions_of

LIBRARIES = ("ray", "torch", "numpy", "tokenizers", "tradewind")


def prepare(store: Store, spec: TrainSpec) -> tuple[TrainingData, ModelShape]:
    """What a spec means in this workspace, checked.

    Raises NotFoundError, IntegrityError, CapacityError, or SpecError for text that is too short for one sequence and
    for axes that do not divide.
    """
    data = open_data(store, spec, _versions(store, spec))
    vocabulary = data.datasets[0].tokenizer_file.vocabulary
    shape = shape_of(spec.model, vocabulary=vocabulary, context=spec.batch.tokens_per_sequence)
    check_vocabulary(spec, shape, vocabulary)
    check_size(spec, shape)
    if spec.start_from:
        check_origin(store, spec.start_from, shape, data.datasets[0])
    check_small(data)
    return data, shape


def _versions(store: Store, spec: TrainSpec) -> dict[str, float]:
    """Of the datasets. One that is missing may take days to make: a model that does not fit is told before."""
    try:
        return newest_versions(store, spec)
    except NotFoundError:
        if spec.model.preset or spec.model.vocabulary:
            check_size(spec, shape_of(spec.model, vocabulary=None, context=spec.batch.tokens_per_sequence))
        raise


def check_size(spec: TrainSpec, shape: ModelShape) -> None:
    """Raises SpecError for axes that do not divide, and CapacityError for what does not fit."""
    check_layout(spec, shape)
    check_memory(spec, shape)


def check_layout(spec: TrainSpec, shape: ModelShape) -> None:
    """Raises SpecError for axes that do not divide the workers, the model or the batch."""
    layout_for(spec, shape, spec.workers)


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
    run, datasets = begin(store, spec, data, shape, prediction)
    return _drive_in_thread(
        Job(run=run, spec=spec, shape=shape, datasets=datasets, store=store, team=this_team()), session, data
    )


def check_resume(run: Run, *, anyway: bool = False) -> tuple[Job, TrainingData]:
    """What a run began with, checked as `prepare` does, before anything is started for it.

    Raises what `check_over` and `prepare` raise.
    """
    check_over(run, anyway=anyway)
    job = job_of(run)
    check_size(job.spec, job.shape)
    return job, open_data(job.store, job.spec, job.datasets)


def resume(run: Run, session: RaySession, *, anyway: bool = False) -> Run:
    """Go on with a run from its last checkpoint, with the spec and the versions of data that it began with.

    `anyway` also takes up a run that is thought to go on elsewhere. Raises what `take_up` and `prepare` raise.
    """
    job, data = check_resume(run, anyway=anyway)
    take_up(run, anyway=anyway)
    return _drive_in_thread(job, session, data)


def job_of(run: Run) -> Job:
    """What the ranks of a run were given, read from its record."""
    store, record = run.files.store, run.record
    spec = TrainSpec.of(**record.spec)
    datasets = record.datasets or {record.dataset: 1.0}
    vocabulary = Datasets(store).get(record.dataset).tokenizer_file.vocabulary
    shape = shape_of(spec.model, vocabulary=vocabulary, context=spec.batch.tokens_per_sequence)
    return Job(run=run.name, spec=spec, shape=shape, datasets=datasets, store=store, team=record.team)


def _drive_in_thread(job: Job, session: RaySession, data: TrainingData) -> Run:
    driver = Driver(lambda: _drive(job, session, data), name=job.run)
    driver.start()
    return Run(job.store, job.run, driver)


def begin(
    store: Store,
    spec: TrainSpec,
    data: TrainingData,
    shape: ModelShape,
    prediction: Prediction | None,
    *,
    share: float = 1.0,
) -> tuple[str, dict[str, float]]:
    """Write the first record of a run. Its name ends with the second it began in; of two in one second one waits.

    `share` is the part of the machine that it will hold.

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
            share=share,
            process=this_process(),
            versions=versions_of(LIBRARIES),
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
    """Run Ray Train to its end, whatever that is, and write the end down. Raises RunError where that cannot be."""
    from tradewind.training.driving.failure import run_error

    run = Run(job.store, job.run)
    try:
        _fit(run, job, session)
        finish(run, job, data)
    except Exception as exc:  # noqa: BLE001 - the end of the thread: the failure becomes a record, which `wait` raises
        finish_failed(run, run_error(job.run, exc))


def _fit(run: Run, job: Job, session: RaySession) -> None:
    """All workers, and no files of checkpoints that were cut short after them: nobody writes any more."""
    from tradewind.training.driving.fit import fit

    try:
        fit(job, session)
    except Exception:
        with contextlib.suppress(StorageError):  # why the run failed matters more
            remove_orphans(run.files, quiet_s=0)
        raise
    remove_orphans(run.files, quiet_s=0)


def finish_failed(run: Run, error: RunError) -> None:
    """Write down that a run failed. Raises RunError with the reason where the store does not take it."""
    try:
        run.finish("failed", error=error)
    except StorageError as exc:
        raise RunError(
            f"{error.message}; nor could this end be written down: {exc.message}",
            hint=f"once the store answers: tw runs resume {run.name}",
            failures=error.failures,
        ) from exc


def finish(run: Run, job: Job, data: TrainingData) -> None:
    """Write down the end of a run whose ranks have returned: it is finished, or was stopped on request."""
    baseline = None
    if len(data.datasets) == 1 and not data.conversations:  # of a mixture, no one dataset's counts are fair
        baseline = bigram_loss(data.datasets[0], tokens_per_sequence=job.spec.batch.tokens_per_sequence)
    if is_asked_to_stop(run.files) and not _is_done(run, job.spec):
        run.finish("stopped", message="stopped on request", bigram_loss=baseline)
    else:
        run.finish("finished", bigram_loss=baseline)


def _is_done(run: Run, spec: TrainSpec) -> bool:
    """Whether the steps or the time of the spec were used up, by the last checkpoint."""
    last = next(reversed(run.checkpoints), None)
    in_time = spec.max_time_s is not None and last is not None and last.seconds >= spec.max_time_s
    return last is not None and (last.step >= spec.max_steps or in_time)
