"""Runs of real ranks, cut and resized, prove what they have read; runs that read something else do not."""

from __future__ import annotations

from typing import Any

import pytest

from tests.samples import VOCABULARY, dataset_spec, write_text
from tests.training.conftest import Ranks
from tradewind.datasets import Datasets
from tradewind.errors import IntegrityError, NotFoundError
from tradewind.families import family
from tradewind.records import CheckpointRecord, Machine, ProcessName, RunStart
from tradewind.specs import TrainSpec
from tradewind.storage import Store, open_store
from tradewind.training import Run, prove
from tradewind.training.job import Job
from tradewind.training.run import RunFiles
from tradewind.training.worker import train


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("proof")
    store = open_store(str(folder / "store"))
    Datasets(store).add(dataset_spec(write_text(folder / "text", documents=12, words=60)))
    return store


def begin(store: Store, run: str, **changes: Any) -> Job:
    spec = TrainSpec.of(
        name="pilot",
        dataset="logbook@1",
        model={"hidden": 16, "layers": 1, "heads": 2},
        batch={"sequences": 7, "tokens_per_sequence": 16},
        order={"window": 2, "lanes": 3},
        max_steps=6,
        checkpoint_every_s="1ms",
        keep_checkpoints=9,
    ).with_values(**changes)
    record = RunStart(
        run=run,
        dataset="logbook@1",
        datasets={"logbook@1": 1.0},
        parameters=1,
        spec=spec.model_dump(mode="json"),
        machine=Machine(host="h", processor="p", num_cpus=1, memory_bytes=1, usd_per_hour=0),
        process=ProcessName(host="h", pid=1, started=0),
        versions={},
    )
    store.put(RunFiles(store, run).key("run.json"), record.to_json())
    shape = family("llama").shape(spec.model, vocabulary=VOCABULARY, context=16)
    return Job(run=run, spec=spec, shape=shape, datasets=record.datasets, store=store)


def continued(job: Job, *, steps: int) -> Job:
    return Job(job.run, job.spec.with_values(max_steps=steps), job.shape, job.datasets, job.store)


def chains(store: Store, run: str) -> dict[int, str]:
    return {one.step: one.certificate for one in RunFiles(store, run).checkpoints()}


def test_cut_and_resized_run_proves_what_an_undisturbed_one_does(ranks: Ranks, store: Store) -> None:
    ranks.run(train, begin(store, "undisturbed"), world=1)
    disturbed = begin(store, "disturbed")
    ranks.run(train, continued(disturbed, steps=2), world=2)
    ranks.run(train, continued(disturbed, steps=5), world=1)
    newest = RunFiles(store, "disturbed").key("checkpoints/000000005.json")
    store.delete(newest)  # as if the workers had been lost before it was whole
    ranks.run(train, disturbed, world=2)
    assert chains(store, "disturbed") == chains(store, "undisturbed")
    proof = prove(Run(store, "disturbed"))
    assert (proof.checkpoints, proof.samples, proof.restarts) == (6, 42, 2)
    (coverage,) = proof.coverage
    assert coverage.epochs * coverage.samples + coverage.begun == 42
    assert proof.certificate == prove(Run(store, "undisturbed")).certificate


def rewrite(store: Store, run: str, step: int, certificate: str) -> None:
    key = RunFiles(store, run).key(f"checkpoints/{step:09d}.json")
    record = CheckpointRecord.from_json(store.get(key), where=key)
    store.put(key, record.model_copy(update={"certificate": certificate}).to_json())


def test_run_that_read_something_else_is_found_out(ranks: Ranks, store: Store) -> None:
    ranks.run(train, begin(store, "honest"), world=1)
    ranks.run(train, begin(store, "another", seed=1), world=1)
    rewrite(store, "honest", 4, chains(store, "another")[4])
    with pytest.raises(IntegrityError, match="checkpoint:honest/4: what the workers have read is not what"):
        prove(Run(store, "honest"))


def test_run_without_certificates_says_so(store: Store) -> None:
    begin(store, "fresh")
    with pytest.raises(NotFoundError, match="run fresh has no checkpoint with a certificate"):
        prove(Run(store, "fresh"))


def test_certificate_of_another_order_is_not_taken_up(ranks: Ranks, store: Store) -> None:
    job = begin(store, "reordered")
    ranks.run(train, continued(job, steps=2), world=1)
    with pytest.raises(Exception, match="the state was saved with another dataset version, seed"):
        ranks.run(train, begin(store, "reordered", order__window=5), world=1)
