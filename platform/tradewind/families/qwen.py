"""The Qwen family: Llama's blocks with biases (Qwen2, 2024), or with norms on queries and keys (Qwen3, 2025).

Qwen3 also comes with a mixture of experts, without shared ones. A spec means Qwen3's blocks.
"""

from __future__ import annotations

from typing import Any

from tradewind.errors import SpecError
from tradewind.families.family import Experts, ModelShape
from tradewind.families.reading import (
    config_of_shape,
    experts_of_spec,
    model_type,
    need,
    refuse_blocks,
    shape_of_config,
    shape_of_spec,
    size,
)
from tradewind.specs import ModelSpec


class Qwen:
    def shape(self, spec: ModelSpec, *, vocabulary: int, context: int) -> ModelShape:
        refuse_blocks("qwen", spec, "experts")
        experts = experts_of_spec(spec)
        if experts and experts.shared:
            raise SpecError(f"model.experts.shared is {experts.shared}; family 'qwen' has no shared experts")
        return shape_of_spec("qwen", spec, vocabulary=vocabulary, context=context, qk_norm=True, experts=experts)

    def hugging_face_config(self, shape: ModelShape) -> dict[str, Any]:
        if shape.qkv_bias:
            return config_of_shape(shape, architecture="Qwen2ForCausalLM", model_type="qwen2")
        if not shape.experts:
            return config_of_shape(shape, architecture="Qwen3ForCausalLM", model_type="qwen3", head_dim=shape.head_dim)
        return config_of_shape(
            shape,
            architecture="Qwen3MoeForCausalLM",
            model_type="qwen3_moe",
            head_dim=shape.head_dim,
            num_experts=shape.experts.routed,
            num_experts_per_tok=shape.experts.active,
            moe_intermediate_size=shape.experts.ffn,
            mlp_only_layers=list(range(shape.experts.dense_layers)),
            decoder_sparse_step=1,
            norm_topk_prob=_routing(shape.experts).normalized,
        )

    def from_hugging_face(self, config: dict[str, Any]) -> ModelShape:
        kind = model_type(config, "qwen2", "qwen3", "qwen3_moe")
        need(config, "use_sliding_window", False)
        if kind == "qwen2":
            return shape_of_config("qwen", config, qkv_bias=True)
        experts = _experts(config) if kind == "qwen3_moe" else None
        return shape_of_config("qwen", config, qk_norm=True, experts=experts)


def _experts(config: dict[str, Any]) -> Experts:
    """What `config.json` states; transformers 5.23 has another name for the number of experts than 5.17 and vLLM."""
    need(config, "decoder_sparse_step", 1)
    dense = config.get("mlp_only_layers") or []
    if dense != list(range(len(dense))):
        raise SpecError(f"config.json: mlp_only_layers is {dense}; only first layers are known here")
    return Experts(
        routed=size(config, "num_local_experts" if "num_local_experts" in config else "num_experts"),
        active=size(config, "num_experts_per_tok"),
        shared=0,
        ffn=size(config, "moe_intermediate_size"),
        dense_layers=len(dense),
        normalized=bool(config.get("norm_topk_prob", False)),
    )


def _routing(experts: Experts) -> Experts:
    """The experts, if Qwen's router can route to them. Raises SpecError."""
    if (experts.scoring, experts.scale, experts.groups, experts.shared) != ("softmax", 1.0, 1, 0):
        raise SpecError(
            "Qwen's router has softmax scores, no scale, no groups and no shared experts", hint="see Experts"
        )
    return experts
