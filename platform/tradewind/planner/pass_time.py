"""How long one chip computes on one micro-batch, forward and backward, without any communication."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from tradewind.catalog.chip import BITS, Precision
from tradewind.families import ModelShape
from tradewind.planner.efficiency import GROUPED_SHARE, Speed, attention_s, matmul_s
from tradewind.planner.layout import Recompute
from tradewind.planner.products import Block, Product, blocks, head

BACKWARD_PRODUCTS = 2
"""Products of the backward pass for each one of the forward pass."""

BACKWARD_ATTENTION = 2.5
"""Five products for the two of the forward pass (FlashAttention-2, Dao 2023, section 3.1)."""

SELECTIVE_SHARE = 0.375
"""Of a block's products, what selective recomputation does again. torchtitan's policy keeps every second product; of
a Llama's block that repeats the keys, the output of attention, and one of the three of the feed-forward."""

LOGIT_PASSES = 4
"""Reads and writes of the logits by a fused cross-entropy and its gradient: 3 ms of a step with 1.05 G logits."""

CAST_BYTES = 10
"""For each element of a product in 8 bits: read for its maximum, read and written in 8 bits, for both of the products
that it is part of. Measured: 92 ms more of an 8B step on one H200."""

EAGER_TRAFFIC = 2.0
"""Without torch.compile, norms, positions and activation functions read and write twice as much: 40 ms more of an 8B
and 46 ms more of a 1B step (torchtitan 0.2.2, one H200)."""


@dataclass(frozen=True)
class PassTime:
    """Seconds in all blocks and in the head, as if one chip had all layers."""

    forward_s: float
    """Of the blocks' products and attention; what else they take is backward."""
    matmul_s: float
    attention_s: float
    memory_s: float
    """Norms, positions, activation functions, casts."""
    head_matmul_s: float
    head_memory_s: float

    @property
    def blocks_s(self) -> float:
        return self.matmul_s + self.attention_s + self.memory_s

    @property
    def head_s(self) -> float:
        return self.head_matmul_s + self.head_memory_s


@lru_cache(maxsize=16384)
def pass_time(
    shape: ModelShape,
    speed: Speed,
    precision: Precision,
    *,
    sequences: int,
    length: int,
    tensor: int,
    context: int,
    expert: int,
    recompute: Recompute,
    compiled: bool,
) -> PassTime:
    """Of `sequences` of `length` tokens, split over `context` and `tensor` chips."""
    tokens = sequences * length / context
    forward_s = matmul = attention = memory = 0.0
    for block in blocks(shape, tensor, expert):
        products_s = sum(_product_s(one, tokens, precision, speed) for one in block.products)
        pairs_s = forward_attention_s(block, tokens, length, shape.head_dim, speed)
        again_s, pairs_again_s = 0.0, 0.0
        if recompute == "selective":
            again_s = SELECTIVE_SHARE * products_s
        elif recompute == "full":
            again_s, pairs_again_s = products_s - _product_s(block.last, tokens, precision, speed), pairs_s
        forward_s += block.layers * (products_s + pairs_s)
        matmul += block.layers * (products_s * (1 + BACKWARD_PRODUCTS) + again_s)
        attention += block.layers * (pairs_s * (1 + BACKWARD_ATTENTION) + pairs_again_s)
        moved = _moved_bytes(block, tokens, precision, recomputed=recompute != "none", compiled=compiled)
        memory += block.layers * moved / speed.elementwise_bytes_per_s
    last = head(shape, tensor)
    head_s = (1 + BACKWARD_PRODUCTS) * _product_s(last, tokens, "bf16", speed)
    logits_s = tokens * last.outputs * LOGIT_PASSES * _activation_bytes(precision) / speed.elementwise_bytes_per_s
    return PassTime(forward_s, matmul, attention, memory, head_s, logits_s)


def forward_attention_s(block: Block, tokens: float, length: float, head_dim: int, speed: Speed) -> float:
    """Of one layer: each token sees half of its sequence on average."""
    flops = 2.0 * block.attention_width * tokens * length
    return attention_s(flops, head_dim=head_dim, tokens=length, speed=speed)


def _product_s(product: Product, tokens: float, precision: Precision, speed: Speed) -> float:
    """Forward. The output layer stays in 16 bits where the blocks are in 8."""
    bits = BITS[precision]
    flops = speed.matmul_flops if bits == 8 else speed.plain_flops
    return product.copies * matmul_s(
        tokens * product.visits,
        product.inputs,
        product.outputs,
        flops=flops if product.copies == 1 else GROUPED_SHARE * flops,
        bits=bits,
        speed=speed,
    )


def _moved_bytes(block: Block, tokens: float, precision: Precision, *, recomputed: bool, compiled: bool) -> float:
    elements = block.forward_elements * (2 if recomputed else 1) + block.backward_elements
    moved = tokens * elements * _activation_bytes(precision) * (1.0 if compiled else EAGER_TRAFFIC)
    return moved + (CAST_BYTES * _operands(block, tokens) if BITS[precision] == 8 else 0.0)


def _operands(block: Block, tokens: float) -> float:
    """Elements of all inputs, gradients of outputs, and weights of a block's products."""
    return sum(
        one.copies * (tokens * one.visits * (one.inputs + one.outputs) + one.inputs * one.outputs)
        for one in block.products
    )


def _activation_bytes(precision: Precision) -> int:
    return 4 if precision == "fp32" else 2
