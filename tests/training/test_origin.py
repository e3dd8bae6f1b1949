"""What may stand in `start_from`, asked before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.samples import dataset_spec, write_model, write_text
from tradewind.datasets import Dataset, Datasets
from tradewind.errors import IntegrityError, NotFoundError
from tradewind.storage import Store, open_store
from tradewind.training.origin import check_origin, read_shape


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("origin")
    store = open_store(str(folder / "store"))
    Datasets(store).add(dataset_spec(write_text(folder / "text", documents=9, words=90)))
    return store


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Files of a model, without a tokenizer."""
    folder = write_model(tmp_path / "model")
    (folder / "tokenizer.json").unlink(missing_ok=True)
    return folder


def check(store: Store, model: Path) -> None:
    dataset: Dataset = Datasets(store).get("logbook")
    check_origin(store, str(model), read_shape(open_store(str(model))), dataset)


def test_whole_model_is_let_through(store: Store, model: Path) -> None:
    check(store, model)


def test_folder_without_a_model_says_what_may_stand_there(store: Store, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"nowhere has no config\.json") as caught:
        check(store, tmp_path / "nowhere")
    assert caught.value.hint == "name a folder or URL of Hugging Face files, or a registered model"


def test_config_that_is_none_is_told(store: Store, model: Path) -> None:
    (model / "config.json").write_text("{")
    with pytest.raises(IntegrityError, match=r"config\.json is none"):
        check(store, model)


def test_folder_without_weights_is_refused_before_workers_start(store: Store, model: Path) -> None:
    (model / "model.safetensors").unlink()
    with pytest.raises(NotFoundError, match=r"has neither model\.safetensors nor"):
        check(store, model)


def test_weights_that_are_cut_short_are_refused_before_workers_start(store: Store, model: Path) -> None:
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    with pytest.raises(IntegrityError, match=r"model\.safetensors"):
        check(store, model)
