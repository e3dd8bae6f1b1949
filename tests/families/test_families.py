from __future__ import annotations

import re

import pytest

from tradewind.errors import NotFoundError, SpecError
from tradewind.families import MODEL_TYPES, family, from_hugging_face, known_model, known_models, shape_of
from tradewind.specs import ModelSpec, TrainSpec

CONFIG = dict(known_models()["qwen3-30b-a3b"].config)


def test_unknown_family_is_answered_with_the_nearest() -> None:
    with pytest.raises(NotFoundError, match=r"no family named 'lama' \(did you mean 'llama'\?\)"):
        family("lama")


def test_unknown_model_is_answered_with_the_nearest() -> None:
    with pytest.raises(NotFoundError, match=r"no known model named 'llama-3.1-7b' \(did you mean 'llama-3.1-70b'\?\)"):
        known_model("llama-3.1-7b")


@pytest.mark.parametrize("name", known_models())
def test_every_known_model_has_a_source_and_a_shape(name: str) -> None:
    assert known_models()[name].source
    shape = known_model(name)
    assert shape.heads % shape.kv_heads == 0
    assert shape.family == MODEL_TYPES[str(known_models()[name].config["model_type"])]


def test_preset_is_taken_whole_with_the_context_of_the_work() -> None:
    shape = shape_of(ModelSpec(preset="llama-3.1-8b"), vocabulary=320, context=8192)
    assert (shape.vocabulary, shape.hidden, shape.layers, shape.context) == (128256, 4096, 32, 8192)


def test_vocabulary_of_the_spec_is_taken_before_others() -> None:
    assert shape_of(ModelSpec(preset="llama-3.1-8b", vocabulary=4096), vocabulary=320, context=64).vocabulary == 4096
    assert shape_of(ModelSpec(vocabulary=4096), vocabulary=320, context=64).vocabulary == 4096
    assert shape_of(ModelSpec(), vocabulary=320, context=64).vocabulary == 320


def test_preset_with_sizes_beside_it_is_refused() -> None:
    with pytest.raises(SpecError, match=r"preset 'llama-3.1-8b' has its own hidden and layers"):
        TrainSpec.of(name="pilot", dataset="logbook", model={"preset": "llama-3.1-8b", "hidden": 64, "layers": 2})


def test_vocabulary_that_nobody_knows_is_asked_for() -> None:
    with pytest.raises(SpecError, match=r"model.vocabulary is missing"):
        shape_of(ModelSpec(), vocabulary=None, context=64)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"model_type": "gpt2"}, "model_type is 'gpt2', of no known family"),
        ({"hidden_size": None}, "hidden_size is None, not a size"),
        ({"attention_bias": True}, "attention_bias is True; only False is known"),
        ({"decoder_sparse_step": 2}, "decoder_sparse_step is 2; only 1 is known"),
        ({"mlp_only_layers": [3]}, "mlp_only_layers is [3]; only first layers are known"),
    ],
)
def test_config_that_sizes_cannot_be_read_from_is_refused(change: dict[str, object], complaint: str) -> None:
    with pytest.raises(SpecError, match=re.escape(complaint)):
        from_hugging_face({**CONFIG, **change})


def test_deepseek_without_latent_attention_is_refused() -> None:
    with pytest.raises(SpecError, match=r"family 'deepseek' needs model.latent"):
        shape_of(ModelSpec(family="deepseek"), vocabulary=320, context=64)


def test_shared_experts_of_qwen_are_refused() -> None:
    wish = ModelSpec.model_validate({"family": "qwen", "experts": {"routed": 4, "active": 2, "shared": 1, "ffn": 64}})
    with pytest.raises(SpecError, match="family 'qwen' has no shared experts"):
        shape_of(wish, vocabulary=320, context=64)
