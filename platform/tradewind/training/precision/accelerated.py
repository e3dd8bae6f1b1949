"""A decoder made ready for the device it trains on: fused blocks, float8, compilation, activation checkpointing."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from tradewind.training.model.attention import Attention
from tradewind.training.model.feed_forward import FeedForward
from tradewind.training.precision import block
from tradewind.training.precision.block import How
from tradewind.training.precision.ends import Lookup, Norm
from tradewind.training.precision.products import Float8, Plain, Products
from tradewind.training.precision.tokens import Cut, Whole
from tradewind.training.precision.working import join_rows

Compute = Literal["float32", "bfloat16", "float8"]
Activations = Literal["none", "selective", "full"]
FLOAT8_MULTIPLE = 16
"""What each side of a float8 product must divide by (cuBLASLt, and `torch._scaled_mm`)."""
FLOAT8_CAPABILITY = (8, 9)


@dataclass(frozen=True)
class Acceleration:
    """What was done to a decoder, for the log."""

    compute: Compute
    fused_blocks: int
    compiled_blocks: int
    activations: Activations
    reasons: tuple[str, ...] = ()
    """Why something asked for was not done."""


def accelerate(
    model: nn.Module,
    *,
    compute: Compute = "bfloat16",
    activations: Activations = "none",
    compile: bool = True,
    tensor_group: dist.ProcessGroup | None = None,
) -> Acceleration:
    """Change in place how a `model.Decoder`, or a stage of one, computes on CUDA; its parameters stay what they are.

    To be called before FSDP2 shards it; weights need no memory yet. `tensor_group` are the ranks over which
    `parallel.tensor` has cut it. Blocks that are not dense with plain grouped queries are compiled instead of fused.
    """
    compute, reasons = _possible(model, compute)
    products: Products = Float8() if compute == "float8" else Plain()
    fused = [layer for layer in _layers(model) if is_fusable(layer)]
    others = [layer for layer in _layers(model) if not is_fusable(layer)]
    how = How(products, Whole() if tensor_group is None else Cut(tensor_group), keep_wide=activations == "none")
    for layer in fused:
        fuse(layer, how, checkpointed=activations == "full")
    for layer in others:
        if compile:
            cast(Any, layer).compile()
    _ends(model, torch.float32 if compute == "float32" else torch.bfloat16)
    return Acceleration(compute, len(fused), len(others) if compile else 0, activations, tuple(reasons))


def float8_refusal(shape: Any, device: torch.device) -> str | None:
    """Why a model's products cannot be in float8 on that device, or None where they can."""
    if device.type == "meta" and torch.cuda.is_available():
        device = torch.device("cuda", torch.cuda.current_device())
    if device.type != "cuda":
        return f"float8 needs a CUDA device, and the model is on {device.type}"
    capability = torch.cuda.get_device_capability(device)
    if capability < FLOAT8_CAPABILITY:
        return f"float8 needs compute capability 8.9, and {torch.cuda.get_device_name(device)} has {capability[0]}.{capability[1]}"
    for name, size in (
        ("hidden", shape.hidden),
        ("ffn", shape.ffn),
        ("heads x head_dim", shape.heads * shape.head_dim),
    ):
        if size % FLOAT8_MULTIPLE:
            return f"float8 products need multiples of {FLOAT8_MULTIPLE}, and {name} is {size}"
    return None


def is_fusable(layer: nn.Module) -> bool:
    """Whether a block is what `block.forward` computes: grouped queries without norms or biases, and one feed-forward."""
    attention, feed = layer.self_attn, layer.mlp
    if type(attention) is not Attention or type(feed) is not FeedForward:
        return False
    plain = isinstance(attention.q_norm, nn.Identity) and attention.q_proj.bias is None
    power_of_two = attention.head_dim & (attention.head_dim - 1) == 0
    return plain and power_of_two


def fuse(layer: nn.Module, how: How, *, checkpointed: bool = False) -> None:
    """Let one block compute by `block.forward`."""
    run: Callable[..., Tensor] = functools.partial(block.forward, layer, how)
    if checkpointed:
        run = functools.partial(checkpoint, run, use_reentrant=False)

    def forward(x: Tensor, cos: Tensor, sin: Tensor, mask: Any = None) -> Tensor:
        return run(x, cos, sin, mask)

    layer.forward = forward


def settle(model: nn.Module, *, short_gradients: bool = True) -> None:
    """What can be done once weights have memory, for a model or a stage that is whole on one device.

    Weights of queries, keys and values are laid side by side, for one product instead of three; names, shapes and
    values stay. To be called before an optimizer or a checkpoint reads them. With `short_gradients`, float32 masters
    get gradients in bfloat16: right for steps of one pass, where a gradient is never added to.
    """
    for layer in _layers(model):
        if is_fusable(layer):
            attention = cast(Any, layer.self_attn)
            join_rows(attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight)
    for weight in model.parameters():
        if short_gradients and weight.dtype == torch.float32 and weight.dim() > 1 and hasattr(weight, "grad_dtype"):
            weight.grad_dtype = torch.bfloat16


def _possible(model: nn.Module, compute: Compute) -> tuple[Compute, list[str]]:
    if compute != "float8":
        return compute, []
    refusal = float8_refusal(cast(Any, model).shape, next(model.parameters()).device)
    return ("float8", []) if refusal is None else ("bfloat16", [refusal])


def _layers(model: nn.Module) -> list[nn.Module]:
    return list(cast(Any, model).model.layers.values())


def _ends(model: nn.Module, dtype: torch.dtype) -> None:
    backbone = cast(Any, model).model
    if type(backbone.embed_tokens) is nn.Embedding:
        embed = backbone.embed_tokens
        embed.forward = lambda tokens: Lookup.apply(tokens, embed.weight, dtype)
    if backbone.norm is not None:
        norm = backbone.norm
        norm.forward = lambda x: Norm.apply(x, norm.weight, norm.eps)
