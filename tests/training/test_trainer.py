"""What is checked before Ray starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.samples import VOCABULARY, dataset_spec, write_text
from tradewind.datasets import Datasets
from tradewind.errors import CapacityError, IntegrityError, NotFoundError, RunError, SpecError, StorageError
from tradewind.specs import TrainSpec
from tradewind.storage import Store, open_store
from tradewind.storage.object_store import ObjectStore
from tradewind.training import Run, prepare
from tradewind.training.run import Driver
from tradewind.training.trainer import begin, finish_failed


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = open_store(str(tmp_path / "store"))
    Datasets(store).add(dataset_spec(write_text(tmp_path / "text", documents=10, words=200)))
    return store


def wish(**changes: Any) -> TrainSpec:
    return TrainSpec.of(name="pilot", dataset="logbook", model={"hidden": 32, "layers": 1}).with_values(**changes)


def test_shape_has_the_vocabulary_of_the_dataset_and_the_length_of_the_sequences(store: Store) -> None:
    data, shape = prepare(store, wish(batch__tokens_per_sequence=64))
    assert [dataset.reference for dataset in data.datasets] == ["logbook@1"]
    assert (shape.vocabulary, shape.context, shape.hidden, shape.layers) == (VOCABULARY, 64, 32, 1)


def test_unknown_dataset_is_answered_with_the_nearest(store: Store) -> None:
    with pytest.raises(NotFoundError, match=r"no dataset named 'logbok' \(did you mean 'logbook'\?\)"):
        prepare(store, wish(dataset="logbok"))


def test_unknown_family_is_answered_with_the_nearest(store: Store) -> None:
    with pytest.raises(NotFoundError, match=r"did you mean 'llama'\?"):
        prepare(store, wish(model__family="lama"))


def test_axes_that_do_not_divide_the_workers_are_refused_with_what_would(store: Store) -> None:
    with pytest.raises(SpecError, match="tensor 3 are 3 ranks, which do not divide the 4 there are") as caught:
        prepare(store, wish(workers=4, parallel__tensor=3))
    assert caught.value.hint == "write workers: 3"


def test_preset_with_another_vocabulary_is_refused_until_it_is_asked_for(store: Store) -> None:
    preset = TrainSpec.of(name="pilot", dataset="logbook", model={"preset": "llama-3.2-1b"})
    with pytest.raises(SpecError, match=f"a vocabulary of 128256, the tokenizer of logbook one of {VOCABULARY}") as one:
        prepare(store, preset)
    assert one.value.hint is not None
    assert f"model.vocabulary: {VOCABULARY}" in one.value.hint


def test_vocabulary_may_be_larger_than_that_of_the_data_and_not_smaller(store: Store) -> None:
    _, shape = prepare(store, wish(model__vocabulary=2 * VOCABULARY))
    assert shape.vocabulary == 2 * VOCABULARY
    with pytest.raises(SpecError, match=f"a vocabulary of {VOCABULARY - 1}"):
        prepare(store, wish(model__vocabulary=VOCABULARY - 1))


@pytest.mark.parametrize("split", ["train", "heldout"])
def test_damaged_shard_is_seen_before_anything_starts(store: Store, split: str) -> None:
    store.put(Datasets(store).get("logbook").record.splits[split].shards[-1].key, b"")
    with pytest.raises(IntegrityError, match="dataset logbook@1"):
        prepare(store, wish())


def test_text_too_short_for_the_sequences_is_seen_before_anything_starts(store: Store) -> None:
    with pytest.raises(SpecError, match=r"no shard of logbook@1 \(train\) holds 100001 tokens"):
        prepare(store, wish(batch__tokens_per_sequence=100_000, batch__sequences=2))


def test_heldout_text_too_short_for_the_sequences_is_seen_before_anything_starts(store: Store, tmp_path: Path) -> None:
    (tmp_path / "text" / "long.txt").write_text("harbour " * 30_000)
    spec = dataset_spec(tmp_path / "text", name="uneven", heldout_fraction=0.001, shard_bytes="1MiB")
    dataset = Datasets(store).add(spec)
    shorter, longer = sorted(split.tokens for split in dataset.record.splits.values())
    with pytest.raises(SpecError, match=f"holds {shorter + 1} tokens"):
        prepare(store, wish(dataset="uneven", batch__tokens_per_sequence=shorter, batch__sequences=2))
    assert shorter < longer


def test_machine_without_enough_memory_is_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    class Memory:
        total = available = 2**29

    monkeypatch.setattr(psutil, "virtual_memory", lambda: Memory)
    with pytest.raises(CapacityError, match=r"512\.0 MiB are free here"):
        prepare(store, wish())


def test_model_that_does_not_fit_is_told_before_its_dataset_is_made(store: Store) -> None:
    large = TrainSpec.of(name="pilot", dataset="web", model={"preset": "llama-3.1-405b"})
    with pytest.raises(CapacityError, match="too little"):
        prepare(store, large)


class Silent(ObjectStore):
    """A store that takes nothing any more."""

    def create(self, key: str, data: bytes) -> None:
        raise StorageError(f"{key} was not answered")


def test_failure_that_cannot_be_written_down_is_raised_by_those_who_wait_for_the_run(store: Store) -> None:
    data, shape = prepare(store, wish(batch__tokens_per_sequence=64))
    name, _ = begin(store, wish(), data, shape, None)
    assert isinstance(store, ObjectStore)
    silent = Silent(store.url, store.open_native, store.folder)
    failed = RunError("the loss is nan (rank 1)", hint="lower it", failures={1: "RunError: the loss is nan"})
    driver = Driver(lambda: finish_failed(Run(silent, name), failed), name=name)
    driver.start()
    with pytest.raises(RunError, match=r"the loss is nan \(rank 1\); nor could this end be written down: ") as caught:
        Run(silent, name, driver).wait()
    assert (caught.value.failures, caught.value.hint) == (
        failed.failures,
        f"once the store answers: tw runs resume {name}",
    )
