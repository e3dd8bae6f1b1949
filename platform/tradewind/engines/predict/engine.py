"""The `predict` engine: a predictor behind `POST /v1/predict`, asked in batches."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tradewind.engines.engine import PLAIN, EngineLoad, EngineSettings
from tradewind.engines.knobs import read_knobs
from tradewind.engines.predict.batch_times import BatchTimes
from tradewind.engines.predict.batcher import Batcher
from tradewind.engines.predict.predictors import Predictor, load_predictor
from tradewind.engines.tally import Tally
from tradewind.errors import CapacityError, RunError, SpecError

if TYPE_CHECKING:
    from fastapi import FastAPI

MOST_INPUTS = 1024
"""Of one request."""
GAINS = {"latency": 1.5, "balanced": 1.1, "throughput": 1.02}
"""By profile: a batch of twice the size is worth it from so much more inputs a second on."""
WARM_UP_S = 5.0
"""Batches of the example are measured at the start for so long at most."""


@dataclass(frozen=True)
class PredictKnobs:
    predictor: str = ""
    """`package.module:Class`; the folder's `model.pt2` when empty."""
    inputs: Literal["json", "image"] = "json"
    image_size: tuple[int, int] | None = None
    """Height and width that images are brought to; that of the exported model, or each its own, when left out."""
    max_pixels: int = 32_000_000
    max_batch: int = 256
    """What the memory has room for. How large batches are below that is found out."""


class PredictEngine:
    can_sleep = False
    searched = None
    loop = None

    def __init__(self) -> None:
        self.settings = EngineSettings()
        self.tally = Tally()
        self.times = BatchTimes()
        self.read: Callable[[Any], Any] | None = None
        """From what a request has to what a batch has; None where that is the same."""
        self.takes_images = False
        self._predictor: Predictor | None = None
        self._batcher: Batcher | None = None
        self._model_thread = ThreadPoolExecutor(1, "tradewind-predict")
        self.readers = ThreadPoolExecutor(max(2, min(8, os.cpu_count() or 1)), "tradewind-read")
        """Where images are decoded, which gives up the interpreter's lock."""
        self._phases: dict[str, float] = {}
        self._is_stopped = False

    def start(self, files: Path, settings: EngineSettings = PLAIN) -> None:
        """Load the predictor, and where it has an example answer it in larger and larger batches."""
        _refuse_what_is_of_language_models(settings)
        knobs = read_knobs(PredictKnobs, settings.more, engine="predict")
        if knobs.max_batch < 1:
            raise SpecError(f"max_batch is {knobs.max_batch}", hint="give 1 or more")
        self.settings = settings
        self.times = BatchTimes(gain=GAINS[settings.profile], most=knobs.max_batch)
        began = time.monotonic()
        self._predictor = self._model_thread.submit(load_predictor, knobs.predictor, files).result()
        self.takes_images = knobs.inputs == "image"
        self.read = _reader(self._predictor, knobs)
        loaded = time.monotonic()
        if (example := getattr(self._predictor, "example", None)) is not None:
            self._model_thread.submit(self._warm_up, example).result()
        self._phases = {"deserialise": loaded - began, "first_token": time.monotonic() - loaded}

    @property
    def phases(self) -> Mapping[str, float]:
        return self._phases

    @property
    def context(self) -> int:
        """Inputs of one request: each counts as a token."""
        return MOST_INPUTS

    @property
    def batcher(self) -> Batcher:
        """That of the running loop."""
        if self._is_stopped:
            raise CapacityError("the engine is stopping", hint="ask again; another replica will answer")
        if self._batcher is None:
            self._batcher = Batcher(self._predict, self.times)
        return self._batcher

    def app(self) -> FastAPI:
        from tradewind.engines.predict.api import app_of

        return app_of(self)

    def load(self) -> EngineLoad:
        """Inputs take the place of requests and of tokens alike."""
        load = self.tally.load()
        batcher = self._batcher
        return replace(load, running=batcher.running, waiting=batcher.waiting) if batcher else load

    def sleep(self) -> None:
        raise SpecError("the predict engine cannot sleep", hint="stop it; a start is as fast")

    def wake(self) -> None:
        """It never sleeps."""

    def stop(self) -> None:
        self._is_stopped = True
        if (batcher := self._batcher) and not batcher.loop.is_closed():
            batcher.loop.call_soon_threadsafe(batcher.close)
        self._model_thread.shutdown(wait=False, cancel_futures=True)
        self.readers.shutdown(wait=False, cancel_futures=True)

    async def _predict(self, batch: list[Any]) -> Sequence[Any]:
        assert self._predictor is not None
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._model_thread, self._predictor.predict, batch)

    def _warm_up(self, example: Any) -> None:
        """Measure batches of the example until larger ones gain nothing. Raises RunError when it is not answered."""
        assert self._predictor is not None
        end = time.monotonic() + WARM_UP_S
        while not self.times.is_settled and time.monotonic() < end:
            size, began = self.times.limit, time.monotonic()
            try:
                outputs = self._predictor.predict([example] * size)
            except Exception as exc:
                raise RunError(f"the predictor fails on its own example: {type(exc).__name__}: {exc}") from exc
            if len(outputs) != size:
                raise RunError(f"the predictor gives {len(outputs)} outputs for {size} inputs")
            self.times.add(size, time.monotonic() - began)


def _refuse_what_is_of_language_models(settings: EngineSettings) -> None:
    asked = {
        "adapters": bool(settings.adapters),
        "precision": settings.precision != "auto",
        "parallel": settings.tensor > 1 or settings.pipeline > 1 or settings.expert,
    }
    for name, is_asked in asked.items():
        if is_asked:
            raise SpecError(f"the predict engine has no {name}", hint="leave it out; a predictor does it by itself")


def _reader(predictor: Predictor, knobs: PredictKnobs) -> Callable[[Any], Any] | None:
    own: Callable[[Any], Any] | None = getattr(predictor, "read", None)
    if knobs.inputs == "json":
        return own
    from tradewind.engines.predict.images import ImageReader

    images = ImageReader(max_pixels=knobs.max_pixels, size=knobs.image_size or _exported_size(predictor))
    return images.read if own is None else lambda given: own(images.read(given))


def _exported_size(predictor: Predictor) -> tuple[int, int] | None:
    """Height and width of the images that an exported model takes. Raises SpecError when it takes none."""
    shape = getattr(predictor, "shape", None)
    if shape is None:
        return None
    if len(shape) != 3 or shape[0] != 3:
        raise SpecError(f"the exported model takes inputs of shape {list(shape)}", hint="images are [3, height, width]")
    return int(shape[1]), int(shape[2])
