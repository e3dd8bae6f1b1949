"""Tensor and sequence parallelism: each matrix is cut over a few near ranks, and so are the tokens between matrices.

Korthikanti et al. 2022, section 4.2. Attention and feed-forward take all tokens of the group (all-gather), compute with
their part of the heads or of the width, and give partial sums that are added and cut by tokens again (reduce-scatter).
Norms and the residual stream see only this rank's tokens. Every weight that is not cut is used on a part of the tokens
or of the heads, so its gradient is the sum over the group.
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import Placement, Replicate, Shard

from tradewind.training.model import Decoder
from tradewind.training.model.attention import Attention
from tradewind.training.model.experts import RoutedExperts
from tradewind.training.model.feed_forward import FeedForward
from tradewind.training.model.latent import LatentAttention
from tradewind.training.parallel.collectives import gather, reduce_scatter
from tradewind.training.parallel.parts import hold, tie

CUT_BY_OUTPUT = {
    "q_proj",
    "k_proj",
    "v_proj",
    "q_b_proj",
    "kv_b_proj",
    "gate_proj",
    "up_proj",
    "embed_tokens",
    "lm_head",
}
"""Matrices whose rows are cut: heads, width, words."""
CUT_BY_INPUT = {"o_proj", "down_proj"}
"""Matrices whose columns are cut. What they give are partial sums."""


def cut(decoder: Decoder, mesh: DeviceMesh) -> None:
    """Cut a decoder, or a stage of one, over the one axis of `mesh`, in place.

    A mixture of experts is not cut: its experts are laid over the same ranks whole, and each rank sends them its own
    tokens (`expert.py`).
    """
    for name, module in list(decoder.named_modules()):
        if isinstance(module, RoutedExperts):
            continue
        for weight in module._parameters:
            hold(module, weight, mesh, [placement(f"{name}.{weight}")])
        if isinstance(module, Attention | LatentAttention) or _is_whole_feed_forward(name, module):
            module.register_forward_pre_hook(_Gather(mesh))
            module.register_forward_hook(_Scatter(mesh))
        if isinstance(module, nn.Embedding):
            module.__class__ = type("SplitEmbedding", (SplitEmbedding, type(module)), {})
            module.axis = mesh  # type: ignore[assignment] # a mesh is no parameter of the module
    tie(decoder)


def placement(name: str) -> Placement:
    """How the weight of that name is laid over the tensor axis."""
    path = set(name.split("."))
    if "shared_experts" in path:
        return Replicate()
    if path & CUT_BY_OUTPUT:
        return Replicate() if "lora_A" in path else Shard(0)
    if path & CUT_BY_INPUT:
        return Replicate() if "lora_B" in path else Shard(1)
    return Replicate()


def _is_whole_feed_forward(name: str, module: nn.Module) -> bool:
    return isinstance(module, FeedForward) and not name.endswith("shared_experts")


class SplitEmbedding(nn.Embedding):
    """Rows of some words. Those of other words are zero here, and the sum over the group is the embedding."""

    axis: DeviceMesh

    def forward(self, tokens: Tensor) -> Tensor:
        rows = self.weight.shape[0]
        mine = tokens - self.axis.get_local_rank() * rows
        known = (mine >= 0) & (mine < rows)
        return scatter_tokens(F.embedding(mine.clamp(0, rows - 1), self.weight) * known.unsqueeze(-1), self.axis)


def gather_tokens(x: Tensor, mesh: DeviceMesh) -> Tensor:
    """[rows, my tokens, width] of each rank to [rows, all tokens, width]; gradients are added and cut."""
    if x.shape[0] == 1:  # the second axis of one row lies in memory like a first one, and needs no copy after
        return gather(x[0], 0, mesh).unsqueeze(0)
    return gather(x, 1, mesh)


def scatter_tokens(x: Tensor, mesh: DeviceMesh) -> Tensor:
    """Partial sums [rows, all tokens, width] to the sums of my tokens; gradients are gathered."""
    if x.shape[0] == 1:
        return reduce_scatter(x[0], 0, mesh).unsqueeze(0)
    return reduce_scatter(x, 1, mesh)


class _Gather:
    def __init__(self, mesh: DeviceMesh) -> None:
        self.mesh = mesh

    def __call__(self, module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:  # noqa: ARG002
        x, *rest = inputs
        return (gather_tokens(x, self.mesh), *rest)


class _Scatter:
    def __init__(self, mesh: DeviceMesh) -> None:
        self.mesh = mesh

    def __call__(self, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:  # noqa: ARG002
        return scatter_tokens(output, self.mesh)
