"""The gate with real engines and real records; what is broken is broken in the weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.samples import dataset_spec, write_text
from tradewind.datasets import Datasets
from tradewind.engines import EngineSettings
from tradewind.engines.int8 import Int8Linear
from tradewind.engines.score import Score
from tradewind.engines.transformers import TransformersEngine
from tradewind.errors import SpecError
from tradewind.records import QualityCheck
from tradewind.registry import Models
from tradewind.serving.model_files import ModelFiles
from tradewind.serving.quality import Comparison, comparison, sample, scored
from tradewind.serving.replica import ReplicaPlan, Running
from tradewind.specs import ServeSpec
from tradewind.storage import RecordLog, Store, open_store

SETTINGS = EngineSettings(names=("pilot@1",), precision="int8")
TEXT = "harbour, quay sail wind cargo. chart anchor tide mast keel " * 30


@pytest.fixture(scope="module")
def store(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Version 1 knows no data; version 2 was made from some."""
    folder = tmp_path_factory.mktemp("store")
    store = open_store(str(folder / "store"))
    dataset = Datasets(store).add(dataset_spec(write_text(folder / "text")))
    files: dict[str, bytes | Path] = {path.name: path for path in tiny_model.iterdir()}
    made: dict[str, Any] = {"family": "llama", "parameters": 1, "context": 64, "heldout_loss": None, "card": {}}
    Models(store).add("pilot", files, parents=(), **made)
    Models(store).add("pilot", files, parents=("run:1", dataset.record.id), **made)
    return store


def spec(name: str, **changes: Any) -> ServeSpec:
    values = {"name": name, "model": "pilot@1", "precision": "int8", "quality": {"text": TEXT}} | changes
    return ServeSpec.of(**values)


class Damaged(TransformersEngine):
    """Its quantisation gets the scale of one layer wrong."""

    def _quantise(self, model: Any) -> None:
        super()._quantise(model)
        first = next(one for one in model.modules() if isinstance(one, Int8Linear))
        first.scale /= 2


def gate(store: Store, wish: ServeSpec, folder: Path) -> Comparison:
    made = comparison(wish, store, ModelFiles.of(store, wish.model), folder, SETTINGS, TransformersEngine)
    assert made
    return made


def score(kind: type[TransformersEngine], folder: Path, text: str) -> Score:
    engine = kind()
    engine.start(folder, SETTINGS)
    try:
        return scored(engine, text)
    finally:
        engine.stop()


def checks(store: Store, name: str) -> list[QualityCheck]:
    return list(RecordLog(store, f"quality/{name}", QualityCheck).all())


def test_int8_passes_and_its_figures_are_written_once(store: Store, tiny_model: Path) -> None:
    wish = spec("passes")
    first = gate(store, wish, tiny_model)
    made = first.check(score(TransformersEngine, tiny_model, first.text))
    assert (made.passed, made.number, made.id) == (True, 1, "quality check:passes/1")
    assert made.loss != made.reference_loss
    assert abs(made.loss_increase) < 0.02
    assert made.weights_bytes
    assert made.reference_weights_bytes
    assert made.weights_bytes < made.reference_weights_bytes
    second = gate(store, wish, tiny_model)
    assert (second.is_new, second.reference.loss) == (False, made.reference_loss)
    second.check(score(TransformersEngine, tiny_model, second.text))
    assert checks(store, "passes") == [made]


def test_scale_that_is_wrong_by_half_is_caught_with_the_figures(store: Store, tiny_model: Path) -> None:
    first = gate(store, spec("damaged"), tiny_model)
    with pytest.raises(
        SpecError, match=r"int8 changes the loss of pilot@1 by \+\d+\.\d+%, from \d.*allowed are 2"
    ) as caught:
        first.check(score(Damaged, tiny_model, first.text))
    assert "precision: auto" in str(caught.value.hint)
    (written,) = checks(store, "damaged")
    assert not written.passed
    assert gate(store, spec("damaged"), tiny_model).is_new


def test_damage_after_a_gate_that_was_passed_is_caught_too(store: Store, tiny_model: Path) -> None:
    wish = spec("later")
    first = gate(store, wish, tiny_model)
    first.check(score(TransformersEngine, tiny_model, first.text))
    with pytest.raises(SpecError) as caught:
        gate(store, wish, tiny_model).check(score(Damaged, tiny_model, first.text))
    assert "look for what broke" in str(caught.value.hint)


def test_loss_that_is_no_number_does_not_pass(store: Store, tiny_model: Path) -> None:
    first = gate(store, spec("nan"), tiny_model)
    with pytest.raises(SpecError, match="nan nats a token"):
        first.check(replace(first.reference, loss=float("nan")))


@pytest.mark.parametrize(("risen", "passes"), [(0.0199, True), (0.0201, False)])
def test_threshold_is_the_specs(store: Store, tiny_model: Path, risen: float, passes: bool) -> None:
    first = gate(store, spec(f"threshold-{passes}".lower()), tiny_model)
    worse = replace(first.reference, loss=first.reference.loss * (1 + risen))
    assert first._judged(worse).passed is passes


@pytest.mark.parametrize("precision", ["auto", "float32", "bfloat16"])
def test_weights_as_they_are_need_no_gate(store: Store, tiny_model: Path, precision: str) -> None:
    wish = spec("plain", precision=precision)
    assert comparison(wish, store, ModelFiles.of(store, "pilot"), tiny_model, SETTINGS, TransformersEngine) is None


def test_text_is_what_was_held_out_of_the_models_data(store: Store) -> None:
    wish = spec("heldout", model="pilot@2", quality={})
    text = sample(wish, ModelFiles.of(store, "pilot@2"))
    held = {word.strip(".,") for word in text.split()}
    assert "harbour" in held
    assert len(text) > 1000


def test_without_any_text_the_gate_says_what_it_needs(store: Store) -> None:
    with pytest.raises(SpecError, match="no text is known to compare pilot@1 on") as caught:
        sample(spec("none", quality={}), ModelFiles.of(store, "pilot@1"))
    assert "quality.text" in str(caught.value.hint)


def test_text_of_one_token_is_refused(store: Store, tiny_model: Path) -> None:
    with pytest.raises(SpecError, match="fewer than two tokens"):
        gate(store, spec("short", quality={"text": "a"}), tiny_model)


class Board:
    def report(self, report: Any) -> None:
        """Nobody reads it."""

    def leave(self, replica: str) -> None:
        """Nobody knows it."""


@pytest.mark.slow
def test_replica_answers_once_the_gate_is_passed_and_never_before(store: Store, tiny_model: Path) -> None:
    wish = spec("replica")
    plan = ReplicaPlan(wish, store, ModelFiles.of(store, wish.model))
    replica = Running(plan, name="r1", front=Board())
    try:
        assert replica.quality
        assert replica.quality.passed
        assert {"reference", "quality", "quantise"} <= set(replica.phases)
        assert isinstance(replica.engine, TransformersEngine)
        assert replica.engine.context == 64
    finally:
        replica.drain(0)
    strict = wish.with_values(name="strict", quality={"text": TEXT, "max_loss_increase": 0.0})
    with pytest.raises(SpecError, match=r"quality gate: int8 changes the loss"):
        Running(ReplicaPlan(strict, store, plan.files), name="r2", front=Board())


def test_engine_that_cannot_be_compared_is_refused(store: Store) -> None:
    wish = spec("echo", engine="echo")
    with pytest.raises(SpecError, match="EchoEngine cannot tell what a precision does"):
        Running(ReplicaPlan(wish, store, ModelFiles.of(store, wish.model)), name="r1", front=Board())


def test_loss_is_that_of_transformers_itself(tiny_model: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model: Any = AutoModelForCausalLM.from_pretrained(tiny_model)
    ids = AutoTokenizer.from_pretrained(tiny_model)(TEXT, return_tensors="pt")["input_ids"][:, :63]
    with torch.inference_mode():
        expected = float(model(input_ids=ids, labels=ids).loss)
    engine = TransformersEngine()
    engine.start(tiny_model, EngineSettings(precision="float32"))
    short = str(AutoTokenizer.from_pretrained(tiny_model).decode(ids[0]))
    made = engine.score(short)
    engine.stop()
    assert made.tokens == 62
    assert made.loss == pytest.approx(expected, abs=1e-5)
