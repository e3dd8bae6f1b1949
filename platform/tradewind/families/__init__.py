"""Model families: one file and one line of this table each. Sizes of a model come from one formula for all of them."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

from tradewind.errors import SpecError, did_you_mean
from tradewind.families.family import Experts, Family, Latent, ModelShape
from tradewind.families.known import known_models, published
from tradewind.families.rope import RopeScaling
from tradewind.families.sizes import (
    Flops,
    active_parameters,
    cache_bytes_per_token,
    embedding_parameters,
    forward_flops_per_token,
    parameters,
    training_flops_per_token,
)
from tradewind.plugins import Table
from tradewind.specs import ModelSpec

FAMILIES = Table(
    "family",
    {
        "deepseek": "tradewind.families.deepseek:DeepSeek",
        "llama": "tradewind.families.llama:Llama",
        "qwen": "tradewind.families.qwen:Qwen",
    },
    group="families",
)
MODEL_TYPES = {
    "deepseek_v2": "deepseek",
    "deepseek_v3": "deepseek",
    "llama": "llama",
    "mistral": "llama",
    "qwen2": "qwen",
    "qwen3": "qwen",
    "qwen3_moe": "qwen",
}
"""Hugging Face's name for a model's code → the family that reads it."""


def family(name: str) -> Family:
    """The family of that name. Raises NotFoundError with the nearest name."""
    found: Family = FAMILIES[name]()
    return found


def shape_of(spec: ModelSpec, *, vocabulary: int | None, context: int) -> ModelShape:
    """The sizes that a spec means: those of its preset, or those of its family. The one door from specs to shapes.

    `vocabulary` is that of the data, for a spec that names neither a vocabulary nor a preset. Raises NotFoundError for
    an unknown family or preset, and SpecError where the vocabulary is not known or a block is not the family's.
    """
    if spec.preset:
        known = known_model(spec.preset)
        return replace(known, vocabulary=spec.vocabulary or known.vocabulary, context=context)
    vocabulary = spec.vocabulary or vocabulary
    if vocabulary is None:
        raise SpecError("model.vocabulary is missing, and there is no dataset to take it from", hint="write its size")
    return family(spec.family).shape(spec, vocabulary=vocabulary, context=context)


@functools.cache
def known_model(name: str) -> ModelShape:
    """The sizes of a public model, like `llama-3.1-8b`. Raises NotFoundError with the nearest name."""
    return from_hugging_face(dict(published(name).config))


def from_hugging_face(config: dict[str, Any]) -> ModelShape:
    """The sizes that a `config.json` states, read by the family that its `model_type` belongs to. Raises SpecError."""
    kind = str(config.get("model_type"))
    if kind not in MODEL_TYPES:
        raise SpecError(f"config.json: model_type is {kind!r}, of no known family{did_you_mean(kind, MODEL_TYPES)}")
    return family(MODEL_TYPES[kind]).from_hugging_face(config)


__all__ = [
    "FAMILIES",
    "Experts",
    "Family",
    "Flops",
    "Latent",
    "ModelShape",
    "RopeScaling",
    "active_parameters",
    "cache_bytes_per_token",
    "embedding_parameters",
    "family",
    "forward_flops_per_token",
    "from_hugging_face",
    "known_model",
    "known_models",
    "parameters",
    "shape_of",
    "training_flops_per_token",
]
