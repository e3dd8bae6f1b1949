"""The Llama family (Touvron et al. 2023): RMSNorm, rotary positions, grouped-query attention, SwiGLU, no biases."""

from __future__ import annotations

from typing import Any

from tradewind.families.family import ModelShape
from tradewind.specs import ModelSpec


class Llama:
    def shape(self, spec: ModelSpec, *, vocabulary: int, context: int) -> ModelShape:
        return ModelShape(
            family="llama",
            vocabulary=vocabulary,
            hidden=spec.hidden,
            layers=spec.layers,
            heads=spec.heads,
            kv_heads=spec.kv_heads or spec.heads,
            head_dim=spec.hidden // spec.heads,
            ffn=spec.ffn or -(-spec.hidden * 8 // 3 // 32) * 32,
            context=context,
            tied=spec.tied,
        )

    def parameters(self, shape: ModelShape) -> int:
        attention = 2 * shape.hidden * shape.head_dim * (shape.heads + shape.kv_heads)
        block = attention + 3 * shape.hidden * shape.ffn + 2 * shape.hidden
        embeddings = shape.vocabulary * shape.hidden * (1 if shape.tied else 2)
        return shape.layers * block + embeddings + shape.hidden

    def hugging_face_config(self, shape: ModelShape) -> dict[str, Any]:
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "vocab_size": shape.vocabulary,
            "hidden_size": shape.hidden,
            "intermediate_size": shape.ffn,
            "num_hidden_layers": shape.layers,
            "num_attention_heads": shape.heads,
            "num_key_value_heads": shape.kv_heads,
            "head_dim": shape.head_dim,
            "hidden_act": "silu",
            "max_position_embeddings": shape.context,
            "rms_norm_eps": shape.norm_eps,
            "rope_theta": shape.rope_theta,
            "rope_parameters": {"rope_type": "default", "rope_theta": shape.rope_theta},
            "attention_bias": False,
            "mlp_bias": False,
            "tie_word_embeddings": shape.tied,
            "torch_dtype": "float32",
            "dtype": "float32",
        }
