"""The gate in front of weights that were changed: a replica answers nobody before it predicts well enough.

Where the precision makes other weights than those of the files, the engine is compared with one of the same kind that
serves them unchanged, by the loss on one text. The unchanged weights are measured once for a version of a model and
found again in the records; the changed ones are measured at each start, which also finds what broke on the way.
"""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tradewind import progress
from tradewind.datasets import Dataset, Datasets
from tradewind.datasets.chat import split
from tradewind.engines import Engine, EngineSettings
from tradewind.engines.formats import changes_weights
from tradewind.engines.score import MOST_TOKENS, Score, Scorer
from tradewind.errors import NotFoundError, SpecError
from tradewind.records import QualityCheck
from tradewind.registry import Models
from tradewind.serving.model_files import ModelFiles
from tradewind.specs import ServeSpec
from tradewind.specs.serve import is_place
from tradewind.storage import RecordLog, Store
from tradewind.units import format_bytes

FOLDER = "quality"
SPLIT = "heldout"


@dataclass(frozen=True)
class Comparison:
    """What the served engine is held against, once it has started."""

    spec: ServeSpec
    store: Store
    files: ModelFiles
    text: str
    reference: Score
    is_new: bool
    """The reference was measured just now."""

    def check(self, score: Score) -> QualityCheck:
        """What came of it, written down where it is new or bad. Raises SpecError when the loss has risen too far."""
        made = self._judged(score)
        if self.is_new or not made.passed:
            log = _log(self.store, self.spec.name)
            made = log.append(lambda number, writer: made.model_copy(update={"number": number, "writer": writer}))
        if not made.passed:
            raise SpecError(f"quality gate: {_told(made)}", hint=self._way_out())
        progress.print_line(f"quality gate: {_told(made)}")
        return made

    def _judged(self, score: Score) -> QualityCheck:
        most = self.spec.quality.max_loss_increase
        return QualityCheck(
            endpoint=self.spec.name,
            number=0,
            writer="",
            model=self.files.reference,
            engine=self.spec.engine,
            precision=self.spec.precision,
            sample_sha256=_digest(self.text),
            tokens=score.tokens,
            loss=score.loss,
            reference_loss=self.reference.loss,
            max_loss_increase=most,
            passed=score.loss <= self.reference.loss * (1 + most),  # False for a loss that is no number
            seconds=score.seconds,
            reference_seconds=self.reference.seconds,
            weights_bytes=score.weights_bytes,
            reference_weights_bytes=self.reference.weights_bytes,
            parents=(f"model:{self.files.reference}",),
        )

    def _way_out(self) -> str:
        if not self.is_new:
            return "the same precision passed here before, so look for what broke; or serve it with precision: auto"
        return "serve it with precision: auto, or allow more: quality.max_loss_increase"


def comparison(
    spec: ServeSpec, store: Store, files: ModelFiles, folder: Path, settings: EngineSettings, make: Callable[[], Engine]
) -> Comparison | None:
    """Measure the unchanged weights, or find what was measured; None where a precision leaves the weights as they are.

    `make` gives a new engine of the kind that will serve; it is stopped before this returns, so that two models are
    never in memory at once. Raises SpecError where there is no text, or an engine that cannot be compared.
    """
    if not changes_weights(spec.precision):
        return None
    text = sample(spec, files)
    if known := _known(spec, store, files, text):
        return Comparison(spec, store, files, text, known, is_new=False)
    reference = _measured(make, folder, replace(settings, precision="auto", adapters={}), text)
    gc.collect()  # before the second model is loaded
    return Comparison(spec, store, files, text, reference, is_new=True)


def scored(engine: Engine, text: str) -> Score:
    """Raises SpecError for an engine that cannot say how well it predicts."""
    if not isinstance(engine, Scorer):
        raise SpecError(
            f"{type(engine).__name__} cannot tell what a precision does to its answers", hint="give precision: auto"
        )
    return engine.score(text)


def sample(spec: ServeSpec, files: ModelFiles) -> str:
    """The text to compare on: the spec's, or what was held out of the data that the model learned from."""
    if spec.quality.text:
        return spec.quality.text
    if not is_place(files.reference):
        parents = Models(files.store).get(files.reference).record.parents
        for parent in parents:
            if parent.startswith("dataset:"):
                return _held_out(files.store, parent.removeprefix("dataset:"))
    raise SpecError(
        f"precision {spec.precision} changes the weights, and no text is known to compare {spec.model} on",
        hint="give one: quality.text",
    )


def _held_out(store: Store, reference: str) -> str:
    """The first tokens that were held out, as text."""
    dataset = Datasets(store).get(reference)
    text = _first_text(dataset)
    if not text:
        raise NotFoundError(f"{reference} has held no text out", hint="give some: quality.text")
    return text


def _first_text(dataset: Dataset) -> str:
    ids: list[int] = []
    for shard in dataset.shards(SPLIT):
        ids += split(np.asarray(shard[: MOST_TOKENS - len(ids)]))[0].tolist()
        if len(ids) >= MOST_TOKENS:
            break
    return str(dataset.tokenizer().decode(ids, skip_special_tokens=True))


def _measured(make: Callable[[], Engine], folder: Path, settings: EngineSettings, text: str) -> Score:
    engine = make()
    try:
        engine.start(folder, settings)
        return scored(engine, text)
    finally:
        engine.stop()


def _known(spec: ServeSpec, store: Store, files: ModelFiles, text: str) -> Score | None:
    """What an earlier replica measured. A folder behind a URL may hold other files by now, so there is nothing."""
    if is_place(files.reference):
        return None
    wanted = (files.reference, spec.engine, spec.precision, _digest(text))
    for one in _log(store, spec.name).all():
        if one.passed and (one.model, one.engine, one.precision, one.sample_sha256) == wanted:
            return Score(one.reference_loss, one.tokens, one.reference_seconds, one.reference_weights_bytes)
    return None


def _told(made: QualityCheck) -> str:
    return (
        f"{made.precision} changes the loss of {made.model} by {made.loss_increase:+.2%}, from "
        f"{made.reference_loss:.4f} to {made.loss:.4f} nats a token on {made.tokens:,} tokens; "
        f"allowed are {made.max_loss_increase:.2%}{_cost(made)}"
    )


def _cost(made: QualityCheck) -> str:
    """What it takes, beside what the unchanged weights do."""
    pace = f"; the text took {made.seconds:.2f} s instead of {made.reference_seconds:.2f}"
    if not (made.weights_bytes and made.reference_weights_bytes):
        return pace
    before, after = format_bytes(made.reference_weights_bytes), format_bytes(made.weights_bytes)
    return f"{pace}, the weights {after} instead of {before}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _log(store: Store, endpoint: str) -> RecordLog[QualityCheck]:
    return RecordLog(store, f"{FOLDER}/{endpoint}", QualityCheck)
