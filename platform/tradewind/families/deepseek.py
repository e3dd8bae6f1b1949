"""The DeepSeek family: multi-head latent attention, and shared and routed experts after a few dense layers.

V2 (2024) and V3 (2024, of which R1 is a fine-tuning) differ in how the router scores: softmax, or sigmoid with a bias,
which a spec means. The block that predicts a second token (DeepSeek-V3, section 2.2) is not counted: it is no part of
the 671 G weights and is not needed to serve.
"""

from __future__ import annotations

import math
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

NORM_EPS = 1e-6
"""As all published ones have it. The norms of the latent vectors have it in any case in transformers and here, and take
that of `config.json` in vLLM 0.29: with another, the two would differ."""


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
            experts=_experts_of_spec(spec),
            norm_eps=NORM_EPS,
        )

    def hugging_face_config(self, shape: ModelShape) -> dict[str, Any]:
        latent, experts = shape.latent, shape.experts
        if latent is None:
            raise SpecError("a shape of family 'deepseek' has latent attention", hint="give its `latent`")
        softmax = experts is not None and experts.scoring == "softmax"
        return config_of_shape(
            shape,
            architecture="DeepseekV2ForCausalLM" if softmax else "DeepseekV3ForCausalLM",
            model_type="deepseek_v2" if softmax else "deepseek_v3",
            q_lora_rank=latent.query_rank,
            kv_lora_rank=latent.rank,
            qk_rope_head_dim=latent.rope_dim,
            qk_nope_head_dim=latent.plain_dim,
            v_head_dim=latent.value_dim,
            **(_routing(experts) if experts else _no_routing(shape.layers)),
        )

    def from_hugging_face(self, config: dict[str, Any]) -> ModelShape:
        kind = model_type(config, "deepseek_v2", "deepseek_v3")
        need(config, "moe_layer_freq", 1)
        need(config, "rope_interleave", True)
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
            **(_softmax(config) if kind == "deepseek_v2" else _sigmoid(config)),
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


def _experts_of_spec(spec: ModelSpec) -> Experts | None:
    """V3's router. Its scale makes the sum of the chosen experts as large as one of them: each has about 1/active of
    the weight, and what they give is independent at first. V3 itself has 2.5 for 8.
    """
    active = spec.experts.active if spec.experts else 1
    return experts_of_spec(spec, scoring="sigmoid", scale=math.sqrt(active))


def _routing(experts: Experts) -> dict[str, Any]:
    if experts.scoring == "softmax" and experts.normalized:
        raise SpecError(
            "DeepSeek-V2's router does not normalize its scores", hint="Experts(normalized=False), or scoring='sigmoid'"
        )
    grouped = "group_limited_greedy" if experts.groups > 1 else "greedy"
    return {
        "n_routed_experts": experts.routed,
        "num_experts_per_tok": experts.active,
        "n_shared_experts": experts.shared,
        "moe_intermediate_size": experts.ffn,
        "first_k_dense_replace": experts.dense_layers,
        "n_group": experts.groups,
        "topk_group": experts.chosen_groups,
        "routed_scaling_factor": experts.scale,
        "norm_topk_prob": experts.normalized,
        "scoring_func": experts.scoring,
        "topk_method": grouped if experts.scoring == "softmax" else "noaux_tc",
    }


def _no_routing(layers: int) -> dict[str, Any]:
    """Without experts, every layer is a first layer that stays dense."""
    sizes = {"n_routed_experts": 1, "num_experts_per_tok": 1, "n_shared_experts": 0, "moe_intermediate_size": 1}
    return {**sizes, "first_k_dense_replace": layers, "n_group": 1, "topk_group": 1}


def _softmax(config: dict[str, Any]) -> dict[str, Any]:
    """V2's router. Its groups count only where it is told to use them."""
    need(config, "scoring_func", "softmax")
    need(config, "norm_topk_prob", False)
    grouped = config.get("topk_method") == "group_limited_greedy"
    return {
        "scoring": "softmax",
        "normalized": False,
        "scale": float(config.get("routed_scaling_factor", 1.0)),
        "groups": size(config, "n_group") if grouped else 1,
        "chosen_groups": size(config, "topk_group") if grouped else 1,
    }


def _sigmoid(config: dict[str, Any]) -> dict[str, Any]:
    """V3's router. What a `config.json` leaves out is as transformers has it."""
    need(config, "scoring_func", "sigmoid")
    return {
        "scoring": "sigmoid",
        "normalized": bool(config.get("norm_topk_prob", True)),
        "scale": float(config.get("routed_scaling_factor", 2.5)),
        "groups": config.get("n_group") or 1,
        "chosen_groups": config.get("topk_group") or 1,
    }
