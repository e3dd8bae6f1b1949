from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.families import (
    FAMILIES,
    ModelShape,
    RopeScaling,
    active_parameters,
    cache_bytes_per_token,
    embedding_parameters,
    family,
    forward_flops_per_token,
    known_model,
    parameters,
    shape_of,
    training_flops_per_token,
)
from tradewind.families.family import Experts, Latent
from tradewind.specs import ModelSpec

PUBLISHED = {
    "llama-2-7b": 6_738_415_616,  # 13 476 831 232 bytes of bf16 in its model.safetensors.index.json
    "llama-3.2-1b": 1_235_814_400,  # 1.24 B in its model card
    "llama-3.1-8b": 8_030_261_248,
    "llama-3.1-70b": 70_553_706_496,
    "llama-3.1-405b": 405_853_388_800,
    "qwen2.5-7b": 7_615_616_512,
    "qwen2.5-32b": 32_763_876_352,
    "qwen2.5-72b": 72_706_203_648,
    "qwen3-8b": 8_190_735_360,
    "qwen3-32b": 32_762_123_264,
    "qwen3-30b-a3b": 30_532_122_624,
    "qwen3-235b-a22b": 235_093_634_560,
    "deepseek-v2-lite": 15_706_484_224,
    "deepseek-v3": 671_026_404_352,
}
"""Sums over the tensors that each model is published with, rounded in its card; DeepSeek-V3's without the block that
predicts a second token."""

ACTIVE = {"qwen3-30b-a3b": 3.3e9, "qwen3-235b-a22b": 22e9, "deepseek-v2-lite": 2.7e9, "deepseek-v3": 37.5e9}
"""As cards state them: DeepSeek's 2.4 and 37 B leave the embedding out, which is 0.2 and 0.9 B."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_of_published_models(name: str) -> None:
    assert parameters(known_model(name)) == PUBLISHED[name]


@pytest.mark.parametrize("name", ACTIVE)
def test_active_parameters_of_published_mixtures(name: str) -> None:
    assert active_parameters(known_model(name)) == pytest.approx(ACTIVE[name], rel=0.03)


SCALINGS = (
    None,
    RopeScaling("linear", 4.0),
    RopeScaling("llama3", 8.0, original_context=16, low_freq_factor=1.0, high_freq_factor=4.0),
    RopeScaling("yarn", 40.0, original_context=16, mscale=0.7, mscale_all_dim=0.7),
    RopeScaling("yarn", 4.0, original_context=16, beta_fast=16.0, attention_factor=1.1, truncate=False),
)


def tiny(name: str, seed: int, **changes: Any) -> ModelShape:
    """A random shape of a family, with every block that it can have."""
    pick = random.Random(seed).choice
    kv_heads, head_dim = pick((1, 2)), pick((8, 16))
    latent = Latent(pick((None, 24)), pick((16, 24)), 8, pick((8, 16)), pick((8, 16)))
    routed = Experts(routed=pick((4, 8)), active=2, shared=pick((1, 2)), ffn=pick((24, 40)), dense_layers=pick((0, 1)))
    groups: dict[str, Any] = pick(({}, {"groups": 2, "chosen_groups": 1}))
    sizes: dict[str, Any] = {
        "family": name, "vocabulary": pick((320, 512)), "hidden": pick((32, 64)), "layers": 3,
        "heads": 2 * kv_heads, "kv_heads": kv_heads, "head_dim": head_dim, "ffn": pick((48, 96)), "context": 64,
        "tied": pick((True, False)), "rope_scaling": pick(SCALINGS),
    }  # fmt: skip
    blocks: dict[str, list[dict[str, Any]]] = {
        "llama": [{}],
        "qwen": [
            {"qkv_bias": True, "head_dim": sizes["hidden"] // sizes["heads"]},
            {"qk_norm": True},
            {"qk_norm": True, "experts": Experts(4, 2, 0, 24, pick((0, 1)), normalized=pick((True, False)))},
        ],
        "deepseek": [
            {"latent": latent, "experts": experts, "kv_heads": sizes["heads"],
             "head_dim": latent.plain_dim + latent.rope_dim}
            for experts in (
                replace(routed, scoring="sigmoid", scale=2.5, normalized=pick((True, False)), **groups),
                replace(routed, normalized=False, scale=16.0, **groups),
                None,
            )
        ],
    }  # fmt: skip
    return ModelShape(**{**sizes, **blocks[name][seed % len(blocks[name])], **changes})


@pytest.mark.parametrize("seed", range(9))
@pytest.mark.parametrize("name", FAMILIES)
def test_each_family_counts_what_hugging_face_builds(name: str, seed: int) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    build: Any = AutoModelForCausalLM.from_config
    shape = tiny(name, seed)
    config = family(name).hugging_face_config(shape)
    with torch.device("meta"):
        theirs = build(AutoConfig.for_model(**{key: config[key] for key in config if key != "torch_dtype"}))
    assert parameters(shape) == sum(weight.numel() for weight in theirs.parameters())


@pytest.mark.parametrize("seed", range(9))
@pytest.mark.parametrize("name", FAMILIES)
def test_written_config_is_read_back_as_the_same_shape(name: str, seed: int) -> None:
    shape = tiny(name, seed)
    assert family(name).from_hugging_face(family(name).hugging_face_config(shape)) == shape


def test_flops_are_those_of_the_published_convention_with_half_of_the_attention() -> None:
    """Llama 3.1 8B at 8192: 6 (N - embedding) + 12 layers heads head_dim context, attention counted whole."""
    shape = known_model("llama-3.1-8b")
    flops = training_flops_per_token(shape, context=8192)
    assert flops.matmul == 6 * (8_030_261_248 - 128256 * 4096)
    assert flops.attention == 12 * 32 * 4096 * 8192 / 2


@pytest.mark.parametrize("name", ["llama-3.2-1b", "llama-3.1-8b", "qwen3-30b-a3b", "deepseek-v3"])
def test_training_costs_three_forward_passes(name: str) -> None:
    forward = forward_flops_per_token(known_model(name), context=4096)
    assert training_flops_per_token(known_model(name), context=4096).total == pytest.approx(3 * forward.total)


def test_tied_output_matrix_computes_as_much_as_its_own() -> None:
    tied, untied = (tiny("llama", 0, tied=tied) for tied in (True, False))
    assert embedding_parameters(untied) == 2 * embedding_parameters(tied)
    assert forward_flops_per_token(tied, context=64) == forward_flops_per_token(untied, context=64)


def test_cache_of_grouped_queries_and_of_latent_attention() -> None:
    """Llama 3.1 70B keeps 320 KiB a token in bf16, DeepSeek-V3 69 KiB."""
    assert cache_bytes_per_token(known_model("llama-3.1-70b"), "bf16") == 320 * 1024
    assert cache_bytes_per_token(known_model("deepseek-v3"), "bf16") == 61 * 576 * 2
    assert cache_bytes_per_token(known_model("deepseek-v3"), "fp8") == 61 * 576


@given(st.integers(1, 6), st.integers(1, 4))
def test_weights_of_unvisited_experts_are_the_only_difference(routed: int, active: int) -> None:
    active = min(active, routed)
    shape = tiny("qwen", 2, experts=Experts(routed, active, 0, 24, 0))
    assert parameters(shape) - active_parameters(shape) == 3 * (routed - active) * 3 * shape.hidden * 24


def test_hand_written_shapes_of_each_family_have_weights() -> None:
    latent = {"rank": 16, "rope_dim": 8, "plain_dim": 16, "value_dim": 16}
    experts = {"routed": 4, "active": 2, "ffn": 64}
    wishes: list[dict[str, Any]] = [
        {"family": "qwen", "experts": experts},
        {"family": "deepseek", "latent": latent, "experts": {**experts, "shared": 1}},
    ]
    for wish in wishes:
        shape = shape_of(ModelSpec.model_validate(wish), vocabulary=320, context=64)
        assert parameters(shape) > active_parameters(shape) > embedding_parameters(shape)
