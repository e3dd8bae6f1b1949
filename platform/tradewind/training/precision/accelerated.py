"""A decoder made ready for the device it trains on: fused blocks, float8, compilation, activation checkpointing."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

from tradewind.families import ModelShape
from tradewind.training.model import Decoder
from tradewind.training.precision import block
from tradewind.training.precision.block import How
from tradewind.training.precision.ends import Lookup, Norm
from tradewind.training.precision.products import Float8, Plain, Products, Scaling
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
    scaling: Scaling | None = None
    """Of float8 products, where products are in float8."""


def accelerate(
    model: Decoder,
    *,
    compute: Compute = "bfloat16",
    scaling: Scaling = "tensorwise",
    activations: Activations = "none",
    compile_others: bool = True,
    tensor_group: dist.ProcessGroup | None = None,
) -> Acceleration:
    """Change in place how a `model.Decoder`, or a stage of one, computes on CUDA; its parameters stay what they are.

    To be called before FSDP2 shards it; weights need no memory yet. `tensor_group` are the ranks over which
    `parallel.tensor` has cut it. Blocks that are not dense with plain grouped queries are compiled instead of fused.
    """
    compute, reasons = _possible(model, compute, scaling)
    layers = _layers(model)
    fusable = is_fusable(model.shape) and all(map(has_plain_products, layers))
    products: Products = Float8(scaling) if compute == "float8" else Plain()
    tokens = Whole() if tensor_group is None else Cut(tensor_group)
    for layer in layers:
        if fusable:
            fuse(layer, How(products, tokens, keep_wide=activations == "none"))
        if activations == "full" or (activations == "selective" and not fusable):
            _recompute(layer, whole=activations == "full")
        if compile_others and not fusable:
            layer.compile()
    _ends(model, torch.float32 if compute == "float32" else torch.bfloat16)
    fused = len(layers) if fusable else 0
    compiled = len(layers) - fused if compile_others else 0
    scales = scaling if compute == "float8" else None
    return Acceleration(compute, fused, compiled, activations, tuple(reasons), scales)


def float8_refusal(shape: ModelShape, device: torch.device) -> str | None:
    """Why a model's products cannot be in float8 on that device, or None where they can."""
    if device.type == "meta" and torch.cuda.is_available():
        device = torch.device("cuda", torch.cuda.current_device())
    if device.type != "cuda":
        return f"float8 needs a CUDA device, and the model is on {device.type}"
    capability = torch.cuda.get_device_capability(device)
    if capability < FLOAT8_CAPABILITY:
        name = torch.cuda.get_device_name(device)
        return f"float8 needs compute capability 8.9, and {name} has {capability[0]}.{capability[1]}"
    if not is_fusable(shape):
        return "float8 products are those of fused blocks: dense, without latent attention, norms of heads, or biases"
    sizes = {"hidden": shape.hidden, "ffn": shape.ffn, "heads x head_dim": shape.heads * shape.head_dim}
    for name, size in sizes.items():
        if size % FLOAT8_MULTIPLE:
            return f"float8 products need multiples of {FLOAT8_MULTIPLE}, and {name} is {size}"
    return None


def is_fusable(shape: ModelShape) -> bool:
    """Whether `block.forward` computes the blocks of a shape: plain grouped queries, and one feed-forward.

    Fused blocks cast masters themselves; others need FSDP2 for masters of another type than they compute in.
    """
    plain = shape.latent is None and shape.experts is None and not shape.qk_norm and not shape.qkv_bias
    return plain and shape.head_dim & (shape.head_dim - 1) == 0


def has_plain_products(layer: nn.Module) -> bool:
    """Whether each matrix of a dense block is all there is to its product; beside one with an adapter is more."""
    matrices = [module for name, module in layer.named_modules() if name.endswith("_proj")]
    return all(type(module).forward is nn.Linear.forward for module in matrices)


def fuse(layer: nn.Module, how: How) -> None:
    """Let one block compute by `block.forward`."""
    layer.forward = functools.partial(block.forward, layer, how)


def settle(model: Decoder, *, short_gradients: bool = True) -> None:
    """What can be done once weights have memory, for a model or a stage that is whole on one device.

    Weights of queries, keys and values are laid side by side, for one product instead of three; names, shapes and
    values stay. To be called before an optimizer or a checkpoint reads them. With `short_gradients`, float32 masters
    get gradients in bfloat16: right for steps of one pass, where a gradient is never added to.
    """
    for layer in _layers(model):
        if is_fusable(model.shape) and has_plain_products(layer):
            attention = cast(Any, layer.self_attn)
            join_rows(attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight)
    for weight in model.parameters():
        if short_gradients and weight.dtype == torch.float32 and weight.dim() > 1 and hasattr(weight, "grad_dtype"):
            weight.grad_dtype = torch.bfloat16


def _possible(model: Decoder, compute: Compute, scaling: Scaling) -> tuple[Compute, list[str]]:
    if compute != "float8":
        unread = f"scaling {scaling} is of float8 products, and these are in {compute}"
        return compute, [] if scaling == "tensorwise" else [unread]
    refusal = float8_refusal(model.shape, next(model.parameters()).device)
    if refusal is None and not all(map(has_plain_products, _layers(model))):
        refusal = "float8 products are those of whole matrices, and adapters stand beside them"
    return ("float8", []) if refusal is None else ("bfloat16", [refusal])


def _layers(model: Decoder) -> list[nn.Module]:
    return list(model.model.layers.values())


def _recompute(layer: nn.Module, *, whole: bool) -> None:
    """Keep a block's input alone, or with it what products and attention gave, and make the rest again."""
    contexts: dict[str, Any] = {}
    if not whole:
        contexts["context_fn"] = functools.partial(create_selective_checkpoint_contexts, _kept)
    again = functools.partial(checkpoint, layer.forward, use_reentrant=False, **contexts)
    layer.forward = again


def _kept(_context: Any, operator: Any, *_arguments: Any, **_named: Any) -> CheckpointPolicy:
    """Every result that costs more to make than to keep; as torchtitan's selective checkpointing, but every product."""
    name = str(operator).split(".")[1]
    is_costly = name in {"mm", "addmm", "bmm", "_grouped_mm", "linear"} or "scaled_dot_product" in name
    return CheckpointPolicy.MUST_SAVE if is_costly else CheckpointPolicy.PREFER_RECOMPUTE


def _ends(model: Decoder, dtype: torch.dtype) -> None:
    backbone = cast(Any, model.model)
    if type(backbone.embed_tokens) is nn.Embedding:
        embedding: Any = backbone.embed_tokens
        embedding.forward = functools.partial(_look_up, embedding, dtype)
    if backbone.norm is not None:
        backbone.norm.forward = functools.partial(_norm, backbone.norm)


def _look_up(embedding: nn.Embedding, dtype: torch.dtype, tokens: Tensor) -> Tensor:
    rows: Tensor = Lookup.apply(tokens, embedding.weight, dtype)  # type: ignore[no-untyped-call]
    return rows


def _norm(norm: nn.RMSNorm, x: Tensor) -> Tensor:
    normed: Tensor = Norm.apply(x, norm.weight, norm.eps)  # type: ignore[no-untyped-call]
    return normed
