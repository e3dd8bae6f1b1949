"""Predictors: what answers a batch of inputs, named by `package.module:Class` or exported by torch to one file."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from tradewind.errors import IntegrityError, SpecError

EXPORTED = "model.pt2"


class Predictor(Protocol):
    """Made with the folder of the model's files; `predict` is called in one thread.

    It may have two things more. `example`, an input as a batch has it: the engine answers it at the start, finds how
    long batches take, and is ready only then. `read(value)`: an input as JSON has it, or an image, made into one of a
    batch; it is called before the input joins a batch, and raises ValueError for what is no input.
    """

    def predict(self, batch: list[Any]) -> Sequence[Any]:
        """An output for each input, of JSON's types or with `tolist`. ValueError says what is wrong with an input."""


def load_predictor(name: str, files: Path) -> Predictor:
    """The class of that name, or `model.pt2` of the folder for an empty one.

    Raises SpecError where there is no such class, IntegrityError for files that it cannot use.
    """
    if not name:
        from tradewind.engines.predict.exported import ExportedModel

        if not (files / EXPORTED).is_file():
            hint = "name a class in engine_settings, predictor: package.module:Class, or export the model with torch"
            raise SpecError(f"the model has no {EXPORTED}, and no predictor is named", hint=hint)
        return ExportedModel(files / EXPORTED)
    made = _class(name)
    if not callable(getattr(made, "predict", None)):
        raise SpecError(f"predictor {name!r} has no method predict", hint="it takes a list and gives one as long")
    try:
        predictor: Predictor = made(files)
    except (OSError, ValueError, KeyError) as exc:
        raise IntegrityError(f"predictor {name!r} cannot use the model's files: {type(exc).__name__}: {exc}") from exc
    return predictor


def _class(name: str) -> Any:
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise SpecError(f"predictor is {name!r}", hint="name it like package.module:Class")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as exc:
        hint = "install its package where replicas run"
        raise SpecError(f"predictor {name!r} cannot be loaded: {exc}", hint=hint) from exc
