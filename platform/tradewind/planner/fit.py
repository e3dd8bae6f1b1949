"""Does it fit: the memory of one chip in training and in serving, against what a program may use of it.

Weights, gradients and states after Rajbhandari et al. 2020 (ZeRO), activations by `activations.py`. Nothing is as large
as the sum of its parts: the estimate follows a step through its moments and gives the fullest one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from tradewind.catalog.chip import BITS, Precision
from tradewind.families import ModelShape, cache_bytes_per_token, embedding_parameters, parameters
from tradewind.families.sizes import routed_parameters
from tradewind.planner.inequality import Inequality
from tradewind.planner.layout import Layout, ServingSetup, TrainingSetup
from tradewind.planner.memory import Memory
from tradewind.planner.moments import CONTEXT_BYTES, fullest_moment
from tradewind.planner.node import Node
from tradewind.planner.stages import stages
from tradewind.planner.trainer import ON_ACCELERATORS, ON_PROCESSORS, Trainer
from tradewind.planner.work import ServingWork, TrainingWork

USABLE_SHARE = 0.92
"""Of a chip's nominal memory. An H200 of 141 GiB shows 139.8 GiB to programs (measured); vLLM takes 0.90 to 0.92 of
what it sees by default, and the last percents are where allocators fail and not where plans should end."""
PREFILL_TOKENS = 8192
"""Tokens of prompts that a server reads at a time: vLLM's `max_num_batched_tokens` on large chips."""
RUNTIME_BYTES = 1.5 * 2**30
"""CUDA graphs and kernels' workspaces of a server; with the prefill, 2 GiB of an H200 with Llama 3.1 8B (measured)."""


def trainer_on(node: Node) -> Trainer:
    """What trains there: this project's trainer on processors, torchtitan's manner on accelerators."""
    return ON_PROCESSORS if node.chip.kind == "cpu" else ON_ACCELERATORS


def training_memory(work: TrainingWork, setup: TrainingSetup, trainer: Trainer = ON_ACCELERATORS) -> Memory:
    """The memory of the fullest chip, at its fullest moment."""
    fullest, *others = [
        fullest_moment(work, setup, trainer, stage) for stage in stages(work.shape, setup.layout.pipeline)
    ]
    return max([fullest, *others], key=lambda memory: memory.total_bytes) if others else fullest


def serving_memory(work: ServingWork, setup: ServingSetup) -> Memory:
    """The memory of one chip of a replica: weights, the cache of all sequences in flight, and one prefill.

    The cache of latent attention has no heads to split, so each chip of a tensor group holds it whole.
    """
    shape, layout = work.shape, setup.layout
    split = layout.tensor * layout.pipeline
    sequences = math.ceil(setup.sequences / layout.expert)
    cached = sequences * min(work.tokens_in + work.tokens_out, shape.context)
    heads = 1 if shape.latent else min(layout.tensor, shape.kv_heads)
    prefill = PREFILL_TOKENS * BITS["bf16"] // 8 * (3 * _prefill_width(shape) / layout.tensor + 2 * shape.hidden)
    return Memory(
        "serving",
        weights=serving_weight_bytes(shape, layout, work.weights),
        activations=prefill + 4 * setup.sequences * shape.vocabulary / layout.tensor,
        communication=2.0 * PREFILL_TOKENS * shape.hidden * 2 if split > 1 or layout.expert > 1 else 0.0,
        cache=cached * cache_bytes_per_token(shape, work.cache) / (heads * layout.pipeline * layout.context),
        framework=CONTEXT_BYTES + RUNTIME_BYTES,
    )


def serving_weight_bytes(shape: ModelShape, layout: Layout, precision: Precision) -> float:
    """Weights on one chip. Below 16 bits, embedding and output stay in 16, as in published FP8 and AWQ checkpoints."""
    routed = routed_parameters(shape)
    outside = parameters(shape) - routed - embedding_parameters(shape)
    split = layout.tensor * layout.pipeline
    embeddings = embedding_parameters(shape) / split * max(BITS[precision], 16) / 8
    return embeddings + (outside + routed / layout.expert) / split * BITS[precision] / 8


def usable_bytes(node: Node) -> int:
    """What a program may use of one chip's memory; 0 where the catalogue does not know the chip's."""
    memory = node.memory_bytes if node.chip.kind == "cpu" else node.chip.memory_bytes
    return int((memory or 0) * USABLE_SHARE)


def fits(memory: Memory, node: Node) -> Inequality | None:
    """None where it fits, else by how much it does not."""
    usable = usable_bytes(node)
    if memory.total_bytes <= usable:
        return None
    return Inequality(f"memory of a {node.chip.name}", memory.total_bytes / 2**30, usable / 2**30, "GiB")


def fit_table(
    models: Mapping[str, ModelShape], nodes: Mapping[str, Node], *, weights: Precision = "bf16", tokens: int = 4096
) -> dict[tuple[str, str], int | None]:
    """How many sequences of `tokens` each node serves at a time with each model, in one replica over all its chips.

    None where it cannot: the weights do not fit, or the chip has no products in that precision. Estimated.
    """
    return {
        (model, name): _sequences(shape, node, weights, tokens)
        for model, shape in models.items()
        for name, node in nodes.items()
    }


def most_sequences(work: ServingWork, layout: Layout, usable: float) -> int:
    """How many sequences one replica holds at a time, 0 where not one fits."""
    one = serving_memory(work, ServingSetup(layout, layout.expert)).total_bytes
    two = serving_memory(work, ServingSetup(layout, 2 * layout.expert)).total_bytes
    if one > usable:
        return 0
    return int(1 + (usable - one) / max(two - one, 1.0)) * layout.expert


def computes(node: Node, precision: Precision) -> bool:
    """Whether a chip can work with weights of a precision: int4 is unpacked to 16 bits, the others need products."""
    return precision == "int4" or node.chip.kind == "cpu" or precision in node.chip.flops


def _sequences(shape: ModelShape, node: Node, weights: Precision, tokens: int) -> int | None:
    if not computes(node, weights):
        return None
    work = ServingWork(shape, 1.0, 1.0, tokens_in=tokens, tokens_out=0, hours=1.0, weights=weights)
    chips = 1 if node.chip.kind == "cpu" else max(1, node.chips)
    layout = Layout(tensor=math.gcd(chips, shape.heads))
    return most_sequences(work, layout, usable_bytes(node)) or None


def _prefill_width(shape: ModelShape) -> int:
    if shape.experts:
        return max(shape.ffn, (shape.experts.active + shape.experts.shared) * shape.experts.ffn)
    return shape.ffn
