from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from starlette.testclient import TestClient
from transformers import AutoModelForCausalLM, AutoTokenizer

from tradewind.engines import EngineSettings
from tradewind.engines.predict import PredictEngine
from tradewind.engines.predict.text_scores import TextScores

TEXTS = ["the harbour, the", "sail, the mast", "wind and the quay and the mast"]


@pytest.fixture(scope="module")
def scores(tiny_model: Path) -> TextScores:
    return TextScores(tiny_model)


def test_bits_are_those_of_transformers_own_loss(scores: TextScores, tiny_model: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    tokens = AutoTokenizer.from_pretrained(tiny_model)(TEXTS[0], return_tensors="pt")["input_ids"]
    loss = float(model(tokens, labels=tokens).loss.detach())
    (score,) = scores.predict([scores.read(TEXTS[0])])
    assert score["bits_per_token"] == pytest.approx(loss / math.log(2), rel=1e-5)
    assert score["tokens"] == tokens.shape[1]
    assert score["bits_per_byte"] > 0


def test_text_has_one_score_in_any_company(scores: TextScores) -> None:
    read = [scores.read(text) for text in TEXTS]
    together = scores.predict(read)
    for one, alone in zip(together, (scores.predict([tokens])[0] for tokens in read), strict=True):
        assert one == pytest.approx(alone, rel=1e-4)


def test_engine_serves_it(tiny_model: Path) -> None:
    engine = PredictEngine()
    name = "tradewind.engines.predict.text_scores:TextScores"
    engine.start(tiny_model, EngineSettings(names=("pilot",), more={"predictor": name}))
    try:
        with TestClient(engine.app()) as client:
            answer = client.post("/v1/predict", json={"inputs": TEXTS})
            wrong = client.post("/v1/predict", json={"inputs": [5]})
    finally:
        engine.stop()
    assert [one["tokens"] > 1 for one in answer.json()["outputs"]] == [True] * 3
    assert (wrong.status_code, "a text is a string" in wrong.text) == (400, True)


def test_longer_text_is_cut_at_the_context(scores: TextScores) -> None:
    assert scores.predict([scores.read("sail " * 1000)])[0]["tokens"] == 64


@pytest.mark.parametrize("value", [3, None, ["sail"], ""])
def test_what_is_no_text_is_refused(scores: TextScores, value: object) -> None:
    with pytest.raises(ValueError, match="text"):
        scores.read(value)
