"""Tiny decoders of each family, and a batch for them."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from tradewind.families import Experts, Latent, ModelShape

LLAMA = ModelShape(
    family="llama", vocabulary=96, hidden=32, layers=4, heads=4, kv_heads=2, head_dim=8, ffn=48, context=16, tied=False
)
EXPERTS = Experts(routed=8, active=2, shared=1, ffn=16, dense_layers=1, scoring="sigmoid")
SHAPES = {
    "llama": LLAMA,
    "tied": replace(LLAMA, tied=True),
    "qwen2": replace(LLAMA, family="qwen", qkv_bias=True),
    "qwen3": replace(LLAMA, family="qwen", qk_norm=True),
    "qwen3_moe": replace(
        LLAMA, family="qwen", qk_norm=True, experts=replace(EXPERTS, shared=0, dense_layers=0, scoring="softmax")
    ),
    "deepseek": replace(
        LLAMA,
        family="deepseek",
        kv_heads=4,
        head_dim=12,
        latent=Latent(query_rank=16, rank=16, rope_dim=4, plain_dim=8, value_dim=8),
        experts=EXPERTS,
    ),
}


def batch(sequences: int = 8, time: int = 16, vocabulary: int = 96) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens, targets of which some do not count, and documents."""
    generator = torch.Generator().manual_seed(7)
    tokens = torch.randint(vocabulary, (sequences, time), generator=generator)
    targets = torch.randint(vocabulary, (sequences, time), generator=generator)
    targets[torch.rand((sequences, time), generator=generator) < 0.2] = -100
    documents = (torch.rand((sequences, time), generator=generator) < 0.2).cumsum(dim=1).to(torch.int32)
    return tokens, targets, documents
