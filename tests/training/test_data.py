"""What a run reads: versions with their weights, one tokenizer, and everything that is held out."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.samples import dataset_spec, write_text
from tests.training.conftest import Ranks
from tests.training.test_proof import begin
from tradewind.datasets import Datasets
from tradewind.errors import IntegrityError, SpecError
from tradewind.records import RunStart
from tradewind.specs import TrainSpec
from tradewind.storage import Store, open_store
from tradewind.training import Run, prove
from tradewind.training.data import check_small, newest_versions, open_data
from tradewind.training.job import Job
from tradewind.training.run import RunFiles
from tradewind.training.worker import train


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("data")
    store = open_store(str(folder / "store"))
    first = dataset_spec(write_text(folder / "one", documents=12, words=60))
    Datasets(store).add(first)
    more = dataset_spec(write_text(folder / "two", documents=9, words=80))
    Datasets(store).add(more.with_values(name="letters", tokenizer={"from": "logbook@1"}))
    Datasets(store).add(more.with_values(name="foreign"))
    return store


def wish(**changes: object) -> TrainSpec:
    return TrainSpec.of(name="pilot", dataset="logbook", batch={"sequences": 6, "tokens_per_sequence": 16}, **changes)


def test_newest_versions_keep_their_weights(store: Store) -> None:
    assert newest_versions(store, wish(mix={"letters": 0.5})) == {"logbook@1": 1.0, "letters@1": 0.5}


def test_one_version_under_two_names_is_refused(store: Store) -> None:
    with pytest.raises(SpecError, match="two of logbook, logbook@1 are the same version"):
        newest_versions(store, wish(mix={"logbook@1": 2}))


def test_datasets_with_different_tokenizers_do_not_mix(store: Store) -> None:
    with pytest.raises(SpecError, match="logbook@1 and foreign@1 were made with different tokenizers"):
        open_data(store, wish(), {"logbook@1": 1.0, "foreign@1": 1.0})


def test_what_is_held_out_is_that_of_all_datasets(store: Store) -> None:
    data = open_data(store, wish(), {"logbook@1": 1.0, "letters@1": 0.5})
    assert [samples.dataset.reference for samples in data.heldout] == ["logbook@1", "letters@1"]
    assert data.batches.mixture.weights == [2, 1]


def test_damage_of_a_small_dataset_is_found_before_the_run(store: Store, tmp_path: Path) -> None:
    own = open_store(str(tmp_path / "own"))
    dataset = Datasets(own).add(dataset_spec(write_text(tmp_path / "text", documents=8)))
    shard = dataset.shard_table("train")[0]
    own.put(shard.key, own.get(shard.key)[:-1] + b"!")
    with pytest.raises(IntegrityError, match="has checksum"):
        check_small(open_data(own, wish(), {"logbook@1": 1.0}))


def test_mixture_is_proven_source_by_source(ranks: Ranks, store: Store) -> None:
    datasets = {"logbook@1": 1.0, "letters@1": 0.5}
    job = begin(store, "mixed")
    key = RunFiles(store, "mixed").key("run.json")
    record = RunStart.from_json(store.get(key), where=key).model_copy(update={"datasets": datasets})
    store.put(key, record.to_json())
    ranks.run(train, Job(job.run, job.spec, job.shape, datasets, store), world=2)
    proof = prove(Run(store, "mixed"))
    read = {one.dataset: one.epochs * one.samples + one.begun for one in proof.coverage}
    assert read == {"logbook@1": 28, "letters@1": 14}
