"""The model that a run starts from: another run's, of the registry, or a folder of Hugging Face files anywhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tradewind.datasets import Dataset
from tradewind.errors import IntegrityError, NotFoundError, SpecError
from tradewind.families import ModelShape, from_hugging_face
from tradewind.registry import Models
from tradewind.storage import Store, open_store

NOT_OF_THE_WEIGHTS = ("context",)
"""A model may be trained on longer or shorter sequences than before."""


@contextmanager
def opened(store: Store, start_from: str) -> Iterator[Store]:
    """The files of a model, as a store whose root they are. What is written like a path or a URL is one.

    Raises NotFoundError.
    """
    if "/" in start_from:
        yield open_store(start_from)
        return
    with TemporaryDirectory(prefix="tradewind-origin-") as folder:
        yield open_store(str(Models(store).get(start_from).export(Path(folder) / "model")))


def check_origin(store: Store, start_from: str, shape: ModelShape, dataset: Dataset) -> None:
    """Raises SpecError where the files are of another model than `shape`, or of another tokenizer than the data's.

    Raises NotFoundError where there is no model, and IntegrityError for one whose files are cut short.
    """
    from tradewind.training.tensor_file import open_tensors

    with opened(store, start_from) as files:
        _check_shape(start_from, read_shape(files), shape)
        _check_tokenizer(start_from, files, dataset)
        open_tensors(files)


def read_shape(files: Store) -> ModelShape:
    """The sizes that `config.json` states. Raises NotFoundError, IntegrityError, SpecError."""
    try:
        return from_hugging_face(json.loads(files.get("config.json")))
    except NotFoundError as exc:
        raise NotFoundError(
            f"{files.url} has no config.json", hint="name a folder or URL of Hugging Face files, or a registered model"
        ) from exc
    except ValueError as exc:
        raise IntegrityError(f"{files.url}/config.json is none: {exc}", hint="fetch the model's files again") from exc


def _check_shape(start_from: str, theirs: ModelShape, ours: ModelShape) -> None:
    same = replace(ours, **{name: getattr(theirs, name) for name in NOT_OF_THE_WEIGHTS})
    differing = [field.name for field in fields(theirs) if getattr(theirs, field.name) != getattr(same, field.name)]
    if differing:
        said = ", ".join(f"{name} {getattr(theirs, name)} instead of {getattr(ours, name)}" for name in differing)
        raise SpecError(f"{start_from} is another model than `model` says: {said}", hint="write its sizes into `model`")


def _check_tokenizer(start_from: str, files: Store, dataset: Dataset) -> None:
    """By what the tokenizers do: files of one tokenizer may be written differently."""
    try:
        theirs = json.loads(files.get("tokenizer.json"))
    except NotFoundError:
        return  # weights alone: whether the tokens are meant so, only people can know
    if _words(theirs) != _words(json.loads(dataset.tokenizer_json())):
        raise SpecError(
            f"{start_from} has another tokenizer than {dataset.reference}",
            hint="make the dataset with it: tokenizer.file in its spec",
        )


def _words(tokenizer: dict[str, Any]) -> Any:
    model = tokenizer.get("model", {})
    return model.get("vocab"), model.get("merges")
