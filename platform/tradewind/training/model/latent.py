"""Multi-head latent attention (DeepSeek-V2, section 2.1): keys and values of all heads come from one small vector.

In training, keys and values are made whole, as in the published code; only a cache gains from leaving them compressed.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from tradewind.families import ModelShape
from tradewind.training.model.attention import Mask, attend
from tradewind.training.model.rotary import half_split, rotate, yarn_mscale

NORM_EPS = 1e-6
"""Of the norms on compressed vectors: DeepSeek's code and transformers leave it there, whatever the model's own is."""


class LatentAttention(nn.Module):
    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        assert shape.latent is not None
        self.latent = latent = shape.latent
        self.head_dim = latent.plain_dim + latent.rope_dim
        self.scale = softmax_scale(shape)
        queries = shape.heads * self.head_dim
        if latent.query_rank:
            self.q_a_proj = nn.Linear(shape.hidden, latent.query_rank, bias=False)
            self.q_a_layernorm = nn.RMSNorm(latent.query_rank, eps=NORM_EPS)
            self.q_b_proj = nn.Linear(latent.query_rank, queries, bias=False)
        else:
            self.q_proj = nn.Linear(shape.hidden, queries, bias=False)
        self.kv_a_proj_with_mqa = nn.Linear(shape.hidden, latent.rank + latent.rope_dim, bias=False)
        self.kv_a_layernorm = nn.RMSNorm(latent.rank, eps=NORM_EPS)
        self.kv_b_proj = nn.Linear(latent.rank, shape.heads * (latent.plain_dim + latent.value_dim), bias=False)
        self.o_proj = nn.Linear(shape.heads * latent.value_dim, shape.hidden, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Mask = None) -> Tensor:
        batch, time, _ = x.shape
        q = self._queries(x).view(batch, time, -1, self.head_dim).transpose(1, 2)
        q_plain, q_turned = torch.split(q, [self.latent.plain_dim, self.latent.rope_dim], dim=-1)
        compressed, k_turned = torch.split(self.kv_a_proj_with_mqa(x), [self.latent.rank, self.latent.rope_dim], dim=-1)
        kv = self.kv_b_proj(self.kv_a_layernorm(compressed)).view(batch, time, q.shape[1], -1).transpose(1, 2)
        k_plain, v = torch.split(kv, [self.latent.plain_dim, self.latent.value_dim], dim=-1)
        q_turned = rotate(half_split(q_turned), cos, sin)
        k_turned = rotate(half_split(k_turned[:, None]), cos, sin).expand(-1, q.shape[1], -1, -1)
        q, k = torch.cat((q_plain, q_turned), dim=-1), torch.cat((k_plain, k_turned), dim=-1)
        mixed = attend(q, k, v, mask, scale=self.scale)
        return cast(Tensor, self.o_proj(mixed.transpose(1, 2).reshape(batch, time, -1)))

    def _queries(self, x: Tensor) -> Tensor:
        if self.latent.query_rank:
            return cast(Tensor, self.q_b_proj(self.q_a_layernorm(self.q_a_proj(x))))
        return cast(Tensor, self.q_proj(x))


def softmax_scale(shape: ModelShape) -> float:
    """1/sqrt(head_dim), times the square of YaRN's temperature where the scaling has `mscale_all_dim`."""
    scaling = shape.rope_scaling
    stretched = yarn_mscale(scaling.factor, scaling.mscale_all_dim) if scaling and scaling.mscale_all_dim else 1.0
    return float(shape.head_dim**-0.5 * stretched**2)
