from __future__ import annotations

from pathlib import Path

import pytest

from tests.samples import VOCABULARY, dataset_spec, write_text
from tradewind.datasets import Datasets
from tradewind.errors import NotFoundError, SpecError
from tradewind.planner.wish import serving_work, training_work
from tradewind.records import LOCAL, Place
from tradewind.specs import ServeSpec, TrainSpec
from tradewind.storage import Store, open_store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "workspace"))


def test_vocabulary_and_bytes_are_those_of_the_dataset(store: Store, tmp_path: Path) -> None:
    dataset = Datasets(store).add(dataset_spec(write_text(tmp_path / "text")))
    work = training_work(store, TrainSpec.of(name="pilot", dataset="logbook"))
    assert work.shape.vocabulary == VOCABULARY
    assert work.dataset_bytes == dataset.split("train").tokens * 2
    assert work.dataset_place == LOCAL


def test_dataset_that_is_not_there_is_as_long_as_what_is_read(store: Store) -> None:
    spec = TrainSpec.of(name="pilot", dataset="web", model={"preset": "llama-3.2-1b"}, max_steps=100)
    work = training_work(store, spec, data_at=Place.parse("aws/eu-west-1"))
    assert work.tokens == 100 * 16 * 128
    assert work.dataset_bytes == work.tokens * 4  # ids of a vocabulary of 128 k take four bytes
    assert str(work.dataset_place) == "aws/eu-west-1"


def test_version_that_a_dataset_does_not_have_is_not_made_up(store: Store, tmp_path: Path) -> None:
    Datasets(store).add(dataset_spec(write_text(tmp_path / "text")))
    with pytest.raises(NotFoundError):
        training_work(store, TrainSpec.of(name="pilot", dataset="logbook@9"))


def test_vocabulary_that_nobody_says_is_asked_for(store: Store) -> None:
    with pytest.raises(SpecError, match="vocabulary"):
        training_work(store, TrainSpec.of(name="pilot", dataset="web"))


def test_endpoint_of_a_public_model_is_planned_by_its_name(store: Store) -> None:
    spec = ServeSpec.of(name="chat", model="llama-3.3-70b", traffic={"requests_per_s": 3, "time_s": "10d"})
    work = serving_work(store, spec)
    assert (work.shape.layers, work.requests_per_s, work.hours) == (80, 3.0, 240.0)


def test_model_that_is_neither_registered_nor_public_is_told(store: Store) -> None:
    with pytest.raises(NotFoundError, match="llama-3\\.3-71b"):
        serving_work(store, ServeSpec.of(name="chat", model="llama-3.3-71b"))
