"""A small shape for each kind of block, with what tests need of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from tradewind.families import Experts, Latent, ModelShape, RopeScaling, family
from tradewind.training.model import Decoder

LLAMA = ModelShape("llama", 97, 32, 2, 4, 4, 8, 48, 40, tied=True)
QWEN = replace(LLAMA, family="qwen", kv_heads=2, norm_eps=1e-6)
LATENT = Latent(query_rank=None, rank=16, rope_dim=8, plain_dim=16, value_dim=12)
DEEPSEEK = replace(LLAMA, family="deepseek", layers=3, head_dim=24, latent=LATENT, norm_eps=1e-6, tied=False)
SOFTMAX = Experts(routed=8, active=3, shared=2, ffn=24, dense_layers=1, normalized=False, scale=1.5)
SIGMOID = replace(SOFTMAX, scoring="sigmoid", normalized=True, scale=2.5, shared=1)
GROUPS: dict[str, Any] = {"groups": 4, "chosen_groups": 2}

SHAPES = {
    "llama": LLAMA,
    "grouped": replace(LLAMA, hidden=48, layers=3, heads=6, kv_heads=2, ffn=64),
    "one key head": replace(LLAMA, layers=1, kv_heads=1, ffn=40),
    "untied": replace(LLAMA, kv_heads=2, tied=False),
    "wide heads": replace(LLAMA, vocabulary=50, kv_heads=2, head_dim=16, tied=False),
    "other rotation and norm": replace(LLAMA, heads=2, kv_heads=2, head_dim=16, rope_theta=500.0, norm_eps=1e-2),
    "linear": replace(LLAMA, rope_scaling=RopeScaling("linear", 4.0)),
    "llama3": replace(LLAMA, head_dim=16, rope_scaling=RopeScaling("llama3", 8.0, original_context=20)),
    "yarn": replace(LLAMA, head_dim=16, rope_scaling=RopeScaling("yarn", 4.0, original_context=10, beta_fast=8.0)),
    "qwen2": replace(QWEN, qkv_bias=True),
    "qwen3": replace(QWEN, qk_norm=True, head_dim=16),
    "qwen3 moe": replace(
        QWEN, qk_norm=True, tied=False, experts=replace(SOFTMAX, normalized=True, scale=1.0, shared=0)
    ),
    "qwen3 moe, scores as they are": replace(QWEN, qk_norm=True, experts=replace(SOFTMAX, scale=1.0, shared=0)),
    "deepseek, dense": DEEPSEEK,
    "deepseek v2": replace(DEEPSEEK, experts=SOFTMAX),
    "deepseek v2, groups": replace(DEEPSEEK, experts=replace(SOFTMAX, **GROUPS)),
    "deepseek v3": replace(DEEPSEEK, latent=replace(LATENT, query_rank=20), experts=SIGMOID),
    "deepseek v3, groups": replace(DEEPSEEK, experts=replace(SIGMOID, **GROUPS)),
    "deepseek v3, yarn": replace(
        DEEPSEEK,
        experts=SIGMOID,
        rope_scaling=RopeScaling("yarn", 40.0, original_context=10, mscale=0.7, mscale_all_dim=1.2),
    ),
    "deepseek v2, yarn": replace(
        DEEPSEEK,
        experts=SOFTMAX,
        rope_scaling=RopeScaling("yarn", 40.0, original_context=10, mscale=0.7, mscale_all_dim=0.7),
    ),
}


def ours(shape: ModelShape) -> Decoder:
    """A model with weights larger than at the start of a training, so that every part of it matters."""
    model = Decoder(shape)
    model.initialize(3)
    stir(model, by=5)
    return model.eval()


def theirs(shape: ModelShape) -> Any:
    """The model that transformers builds from the shape's `config.json`, with random weights."""
    from transformers import AutoConfig, AutoModelForCausalLM

    build: Any = AutoModelForCausalLM.from_config
    config = family(shape.family).hugging_face_config(shape)
    torch.manual_seed(11)
    made = build(AutoConfig.for_model(**{key: config[key] for key in config if key not in ("torch_dtype", "dtype")}))
    stir(made, by=5)
    return made.eval()


@torch.no_grad()
def stir(model: nn.Module, *, by: float) -> None:
    generator = torch.Generator().manual_seed(5)
    for weight in model.parameters():
        weight.mul_(by if weight.dim() > 1 else 1).add_(0.2 * torch.randn(weight.shape, generator=generator))
    for name, buffer in model.named_buffers():
        if name.endswith("e_score_correction_bias"):
            buffer.copy_(0.1 * torch.randn(buffer.shape, generator=generator))


def tokens(shape: ModelShape) -> Tensor:
    return torch.randint(0, shape.vocabulary, (3, shape.context), generator=torch.Generator().manual_seed(1))
