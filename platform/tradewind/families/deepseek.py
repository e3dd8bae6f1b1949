"""The DeepSeek family: multi-head latent attention, and shared and routed experts after a few dense layers.

V2 (2024) and V3 (2024, of which R1 is a fine-tuning) differ in how the router scores: softmax, or sigmoid with a bias.
Sizes do not tell them apart, so both are read, and what is written is V3's. The block that predicts a second token
(DeepSeek-V3, section 2.2) is not counted: it is no part of the 671 G weights and is not needed to serve.
"""

from __future__ import annotations

from typing import Any

from tradewind.errors import SpecError
from tradewind.families.family import Experts, Latent, ModelShape
from tradewind.families.reading import (
    config_of_shape,
    experts_of_spec,
    model_type,
    need,
    shape_of_config,
    shape_of_spec,
    size,
)
from tradewind.specs import ModelSpec


class DeepSeek:
    def shape(self, spec: ModelSpec, *, vocabulary: int, context: int) -> ModelShape:
        if spec.latent is None:
            raise SpecError("family 'deepseek' needs model.latent", hint="or name a preset, like deepseek-v3")
        if spec.head_dim or spec.kv_heads:
            raise SpecError("model.head_dim and model.kv_heads follow from model.latent", hint="leave them out")
        latent = Latent(**spec.latent.model_dump())
        return shape_of_spec(
            "deepseek",
            spec,
            vocabulary=vocabulary,
            context=context,
            head_dim=latent.plain_dim + latent.rope_dim,
            latent=latent,
            experts=experts_of_spec(spec),
        )

    def hugging_face_config(self, shape: ModelShape) -> dict[str, Any]:
        latent, experts = shape.latent, shape.experts
        if latent is None:
            raise SpecError("a shape of family 'deepseek' has latent attention", hint="give its `latent`")
        # without experts, every layer is a first layer that stays dense
        routing = {
            "n_routed_experts": experts.routed if experts else 1,
            "num_experts_per_tok": experts.active if experts else 1,
            "n_shared_experts": experts.shared if experts else 0,
            "moe_intermediate_size": experts.ffn if experts else shape.ffn,
            "first_k_dense_replace": experts.dense_layers if experts else shape.layers,
            "n_group": 1,
            "topk_group": 1,
        }
        return config_of_shape(
            shape,
            architecture="DeepseekV3ForCausalLM",
            model_type="deepseek_v3",
            q_lora_rank=latent.query_rank,
            kv_lora_rank=latent.rank,
            qk_rope_head_dim=latent.rope_dim,
            qk_nope_head_dim=latent.plain_dim,
            v_head_dim=latent.value_dim,
            **routing,
        )

    def from_hugging_face(self, config: dict[str, Any]) -> ModelShape:
        model_type(config, "deepseek_v2", "deepseek_v3")
        need(config, "moe_layer_freq", 1)
        latent = Latent(
            query_rank=size(config, "q_lora_rank") if config.get("q_lora_rank") else None,
            rank=size(config, "kv_lora_rank"),
            rope_dim=size(config, "qk_rope_head_dim"),
            plain_dim=size(config, "qk_nope_head_dim"),
            value_dim=size(config, "v_head_dim"),
        )
        experts = Experts(
            routed=size(config, "n_routed_experts"),
            active=size(config, "num_experts_per_tok"),
            shared=config.get("n_shared_experts") or 0,
            ffn=size(config, "moe_intermediate_size"),
            dense_layers=config.get("first_k_dense_replace") or 0,
        )
        everywhere_dense = experts.dense_layers >= size(config, "num_hidden_layers")
        return shape_of_config(
            "deepseek",
            config,
            kv_heads=size(config, "num_attention_heads"),
            head_dim=latent.plain_dim + latent.rope_dim,
            latent=latent,
            experts=None if everywhere_dense else experts,
        )
