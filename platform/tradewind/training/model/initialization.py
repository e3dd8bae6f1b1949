"""The first weights, drawn from a seed and a name: the same for every sharding, and never more than a part at once.

A parameter is drawn in blocks of rows, each from a generator of its own, so a rank draws only the blocks of its shard.
Numbers are drawn on the device where the weights are; another kind of device draws others.
"""

from __future__ import annotations

import hashlib
import math

import torch
from torch import Tensor, nn

from tradewind.training.model.shards import local_part

DEVIATION = 0.02
BLOCK_ELEMENTS = 2**20
"""Numbers drawn together, about."""


@torch.no_grad()
def initialize(model: nn.Module, seed: int, *, layers: int) -> None:
    """Fill all parameters and the routers' buffers of a model that is on its device, sharded or not.

    Normal weights of deviation 0.02; the projections back into the residual stream scaled by 1/sqrt(2 layers): the
    scheme of GPT-2 (Radford et al. 2019, section 2.3). Adapters begin as in LoRA (Hu et al. 2021, section 4.1): A is
    drawn, of deviation 1/sqrt(3 columns), and B is 0.
    """
    for name, buffer in model.named_buffers():
        if name.endswith(("visits", "e_score_correction_bias")):
            buffer.zero_()
    for name, weight in model.named_parameters():
        if name.endswith("norm.weight"):
            weight.fill_(1.0)
        elif weight.dim() == 1 or name.endswith("lora_B.weight"):
            weight.zero_()
        else:
            _draw(name, weight, seed, deviation(name, weight, layers))


def deviation(name: str, weight: Tensor, layers: int) -> float:
    if name.endswith("lora_A.weight"):
        return 1.0 / math.sqrt(3 * weight.shape[-1])
    into_residual = name.endswith(("o_proj.weight", "down_proj.weight", "experts.down_proj"))
    return DEVIATION / math.sqrt(2 * layers) if into_residual else DEVIATION


def _draw(name: str, weight: Tensor, seed: int, deviation: float) -> None:
    local, offsets = local_part(weight)
    row_shape = weight.shape[1:]
    rows_at_once = max(1, BLOCK_ELEMENTS // math.prod(row_shape))
    inside = tuple(slice(offset, offset + size) for offset, size in zip(offsets[1:], local.shape[1:], strict=True))
    first, end = offsets[0], offsets[0] + local.shape[0]
    generator = torch.Generator(device=local.device)
    for block in range(first // rows_at_once, -(-end // rows_at_once) if local.numel() else 0):
        start = block * rows_at_once
        rows = min(rows_at_once, weight.shape[0] - start)
        generator.manual_seed(_seed(seed, name, block))
        drawn = torch.empty((rows, *row_shape), device=local.device).normal_(0.0, deviation, generator=generator)
        low, high = max(start, first), min(start + rows, end)
        local[low - first : high - first] = drawn[(slice(low - start, high - start), *inside)]


def _seed(seed: int, name: str, block: int) -> int:
    digest = hashlib.blake2b(f"{seed}/{name}/{block}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
