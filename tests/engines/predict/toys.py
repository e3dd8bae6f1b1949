"""Predictors for tests."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np


class Scale:
    """Inputs times what the folder's `config.json` says."""

    example = 1.0

    def __init__(self, files: Path) -> None:
        self.factor = json.loads((files / "config.json").read_text())["factor"]

    def read(self, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{value!r} is no number")
        return float(value)

    def predict(self, batch: list[float]) -> Any:
        return np.array(batch) * self.factor


class Waits:
    """Answers once it is let go. It has no example, which would wait as well."""

    def __init__(self, _: Path) -> None:
        self.go = threading.Event()
        self.batches: list[list[Any]] = []

    def predict(self, batch: list[Any]) -> list[Any]:
        self.batches.append(batch)
        self.go.wait(20)
        return batch


class Colour:
    """The mean colour of images."""

    def __init__(self, _: Path) -> None:
        pass

    def predict(self, batch: list[Any]) -> list[Any]:
        return [{"size": image.shape, "mean": image.mean(axis=(0, 1))} for image in batch]


class Odd:
    """Fails in several ways."""

    def __init__(self, _: Path) -> None:
        pass

    def predict(self, batch: list[Any]) -> list[Any]:
        if "refuse" in batch:
            raise ValueError("refused")
        if "break" in batch:
            raise ZeroDivisionError("broken")
        return [float("nan") if one == "nan" else {1, 2} if one == "set" else one for one in batch]


class FailsOnItsExample(Odd):
    example = "break"


class NoPredictor:
    def __init__(self, _: Path) -> None:
        pass
