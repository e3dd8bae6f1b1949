"""What of a training step's communication cannot hide behind arithmetic.

Gathers of sharded weights and sums of gradients run beside the blocks' kernels (FSDP2; Zhao et al. 2023, section 3.3).
Tensor-parallel, expert and pipeline exchanges stand between two products, so everybody waits. Keys and values of
context parallelism travel while attention computes (ring attention, Liu et al. 2023).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tradewind.catalog.chip import BITS, Precision
from tradewind.families.sizes import dense_layers
from tradewind.planner.layout import TrainingSetup
from tradewind.planner.network import all_gather_s, all_reduce_s, all_to_all_s, ring, send_s
from tradewind.planner.node import Node
from tradewind.planner.pass_time import PassTime
from tradewind.planner.products import weights
from tradewind.planner.work import TrainingWork

ACTIVATION_BYTES = 2

BESIDE = 1.7
"""How much longer communication takes beside kernels than alone: gathers 161 instead of 265 GB/s, scatters 126 instead
of 238 (8B, two H200)."""

CONTENTION = 0.1
"""Of communication that hides: it takes memory and processors from the kernels beside it. Products took 545 instead of
523 ms beside 227 ms of NCCL (same run)."""


@dataclass(frozen=True)
class Exchange:
    """Seconds of a step."""

    waited_s: float
    """In which nothing is computed."""
    lost_s: float
    """By kernels to communication beside them."""

    @property
    def total_s(self) -> float:
        return self.waited_s + self.lost_s


def exchange(work: TrainingWork, setup: TrainingSetup, node: Node, computed: PassTime) -> Exchange:
    """What communication adds to a step of the slowest stage."""
    layout, passes, zero = setup.layout, setup.micro_batches, setup.zero
    if layout.chips == 1:
        return Exchange(0.0, 0.0)
    share = math.ceil(work.shape.layers / layout.pipeline) / work.shape.layers
    forward_s = share * computed.forward_s
    backward_s = share * computed.blocks_s - forward_s
    gather_s, reduce_s = _sharded(work, setup, node)
    waited_s = passes * (_tensor_s(work, setup, node) + _experts_s(work, setup, node) + _stages_s(work, setup, node))
    hidden_s = 0.0
    for times, sent_s, kernels_s in (
        (passes, gather_s if zero == 3 else 0.0, forward_s),
        (passes, (gather_s if zero == 3 else 0.0) + (reduce_s if zero > 1 else 0.0), backward_s),
        (1, (reduce_s if zero == 1 else 0.0) + _replicas_s(work, setup, node), backward_s),
        (1, gather_s if zero < 3 else 0.0, forward_s),
        (passes, _context_s(work, setup, node), share * computed.attention_s),
    ):
        if sent_s:
            waited_s += times * max(0.0, sent_s - kernels_s / BESIDE)
            hidden_s += times * min(sent_s * BESIDE, kernels_s)
    return Exchange(waited_s, CONTENTION * hidden_s)


def _sharded(work: TrainingWork, setup: TrainingSetup, node: Node) -> tuple[float, float]:
    """Seconds to gather all weights of a stage once, and to sum and scatter their gradients once."""
    layout = setup.layout
    layers = math.ceil(work.shape.layers / layout.pipeline)
    dense, routed = weights(work.shape)
    parts = (
        (dense, layout.shard * layout.expert * layout.context, layout.tensor),
        (routed / layout.expert, layout.shard * layout.context, layout.tensor * layout.expert),
    )
    gather_s = reduce_s = 0.0
    for held, ranks, inner in parts:
        if ranks > 1 and held:
            link = ring(node, inner=inner, ranks=ranks)
            block = held / (layout.tensor * layout.pipeline * layers)
            gather_s += layers * all_gather_s(link, block * _gathered_bytes(work.precision), ranks)
            reduce_s += layers * all_gather_s(link, block * BITS[work.master] / 8, ranks)
    return gather_s, reduce_s


def _gathered_bytes(precision: Precision) -> int:
    """Of a weight: weights in 8 bits are made where they are used (torchao, without its gathers in fp8)."""
    return 4 if precision == "fp32" else 2


def _replicas_s(work: TrainingWork, setup: TrainingSetup, node: Node) -> float:
    """Sum of gradients over replicas, each chip for its own shard."""
    layout = setup.layout
    inner = layout.tensor * layout.context * layout.expert * layout.shard
    if layout.replicate == 1:
        return 0.0
    size_bytes = sum(weights(work.shape)) / (inner * layout.pipeline) * BITS[work.master] / 8
    return all_reduce_s(ring(node, inner=inner, ranks=layout.replicate), size_bytes, layout.replicate)


def _tensor_s(work: TrainingWork, setup: TrainingSetup, node: Node) -> float:
    """Four gathers or scatters forward, four backward, and two for what is computed again (Korthikanti et al. 2022)."""
    ranks = setup.layout.tensor
    if ranks == 1:
        return 0.0
    times = (8 if setup.recompute == "none" else 10) * math.ceil(work.shape.layers / setup.layout.pipeline)
    return times * all_gather_s(ring(node, inner=1, ranks=ranks), _activations(work, setup), ranks)


def _experts_s(work: TrainingWork, setup: TrainingSetup, node: Node) -> float:
    """Tokens to their experts and back, forward and backward, and forward again where that is recomputed."""
    layout, experts = setup.layout, work.shape.experts
    if layout.expert == 1 or experts is None:
        return 0.0
    times = 4 if setup.recompute != "full" else 6
    link = ring(node, inner=layout.tensor * layout.context, ranks=layout.expert)
    size_bytes = _activations(work, setup) * experts.active / layout.tensor
    sparse = (work.shape.layers - dense_layers(work.shape)) / layout.pipeline
    return times * sparse * all_to_all_s(link, size_bytes, layout.expert)


def _stages_s(work: TrainingWork, setup: TrainingSetup, node: Node) -> float:
    """Activations to the next stage and their gradients back."""
    layout = setup.layout
    if layout.pipeline == 1:
        return 0.0
    link = ring(node, inner=layout.chips // layout.pipeline, ranks=layout.pipeline)
    return 2 * send_s(link, _activations(work, setup) / layout.tensor)


def _context_s(work: TrainingWork, setup: TrainingSetup, node: Node) -> float:
    """Keys and values once around the ring forward, and with their gradients twice backward."""
    layout, shape = setup.layout, work.shape
    if layout.context == 1:
        return 0.0
    link = ring(node, inner=layout.tensor, ranks=layout.context)
    tokens = setup.micro_batch * work.tokens_per_sequence / layout.context
    size_bytes = 2 * tokens * shape.kv_heads * shape.head_dim / layout.tensor * ACTIVATION_BYTES
    return 3 * shape.layers / layout.pipeline * (layout.context - 1) * send_s(link, size_bytes)


def _activations(work: TrainingWork, setup: TrainingSetup) -> float:
    """Bytes between two blocks, of one micro-batch on the chips of one tensor-parallel group."""
    tokens = setup.micro_batch * work.tokens_per_sequence / setup.layout.context
    return tokens * work.shape.hidden * ACTIVATION_BYTES
