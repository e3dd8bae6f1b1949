"""How much of the forward pass is kept for the backward pass: as much as fits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tradewind.families import ModelShape
from tradewind.planner.activations import block_activations
from tradewind.planner.trainer import Trainer

Activations = Literal["none", "selective", "full"]
"""What is computed again: nothing, the wide part of the feed-forward, or whole blocks."""
LOGIT_BYTES = 3 << 30
"""Logits of one chunk of tokens, and the gradients of the head and of its input beside them: see `precision.ends`."""
SLACK = 0.06
"""Of a device's memory, for what the allocator cannot use and libraries hold. Measured on an H200: 0.9 to 1.4 GiB of
76 GiB that were reserved were not allocated, and 0.6 GiB lay outside the allocator."""


@dataclass(frozen=True)
class Work:
    """What one rank computes in one pass."""

    shape: ModelShape
    layers: int
    """Blocks on this rank, times the passes that are under way at once in a pipeline."""
    tokens: int
    """Of one pass on this rank, divided by the ranks over which a block's tokens are cut."""
    fused: bool
    """Whether blocks are `precision.block`'s."""
    float8: bool = False
    bytes_each: int = 2


def kept_bytes(work: Work, recomputed: Activations) -> int:
    """What all blocks keep for the backward pass. Estimated; for fused blocks, a sum over what they save."""
    if not work.fused:
        trainer = Trainer(kernels="compiled", loss="chunked")
        experts = work.shape.experts is not None
        block = block_activations(
            work.shape,
            trainer,
            recomputed,
            each=work.bytes_each,
            sums=work.bytes_each,
            fp8=work.float8,
            experts=experts,
        )
        return round(work.layers * work.tokens * block.kept)
    return work.layers * work.tokens * fused_bytes(work, recomputed)


def fused_bytes(work: Work, recomputed: Activations) -> int:
    """Bytes a token that a fused block keeps: see the list at the head of `precision.block`."""
    shape, each = work.shape, work.bytes_each
    if recomputed == "full":
        return each * shape.hidden
    normed = (1 if work.float8 else each) * shape.hidden
    heads = (2 * shape.heads + 2 * shape.kv_heads) * shape.head_dim
    statistics = 4 * (shape.heads + 2)
    narrow = 2 * each * shape.hidden + normed + each * heads + statistics
    return narrow if recomputed == "selective" else narrow + normed + 2 * each * shape.ffn


def activations_that_fit(work: Work, *, memory_bytes: int, states_bytes: int) -> Activations:
    """The least recomputation with which a pass fits beside `states_bytes` of weights and optimizer states.

    Gradients belong to those only where they outlast a pass: else they grow as activations go, and are smaller.
    `memory_bytes` is all memory of the device. `full` where nothing fits: whether that does is not asked here.
    """
    room = memory_bytes * (1 - SLACK) - states_bytes - LOGIT_BYTES
    choices: tuple[Activations, ...] = ("none", "selective")
    for choice in choices:
        if kept_bytes(work, choice) + passing_bytes(work) <= room:
            return choice
    return "full"


def passing_bytes(work: Work) -> int:
    """The most that lives for a moment in one block's backward pass: gate, up and their gradients, and three widths."""
    return work.tokens * work.bytes_each * (5 * work.shape.ffn + 3 * work.shape.hidden)
