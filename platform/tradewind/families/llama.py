"""The Llama family (Touvron et al. 2023): RMSNorm, rotary positions, grouped-query attention, SwiGLU, no biases.

Mistral 7B (Jiang et al. 2023) is of the same blocks. Where its window slides, the context is the window: up to there,
it is Llama's arithmetic, and what is beyond is not modelled.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tradewind.families.family import ModelShape
from tradewind.families.reading import config_of_shape, model_type, refuse_blocks, shape_of_config, shape_of_spec
from tradewind.specs import ModelSpec


class Llama:
    def shape(self, spec: ModelSpec, *, vocabulary: int, context: int) -> ModelShape:
        refuse_blocks("llama", spec)
        return shape_of_spec("llama", spec, vocabulary=vocabulary, context=context)

    def hugging_face_config(self, shape: ModelShape) -> dict[str, Any]:
        return config_of_shape(
            shape,
            architecture="LlamaForCausalLM",
            model_type="llama",
            head_dim=shape.head_dim,
            mlp_bias=False,
        )

    def from_hugging_face(self, config: dict[str, Any]) -> ModelShape:
        model_type(config, "llama", "mistral")
        shape = shape_of_config("llama", config)
        return replace(shape, context=min(shape.context, config.get("sliding_window") or shape.context))
