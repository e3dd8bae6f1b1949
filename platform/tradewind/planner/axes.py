"""Which layouts there are: what must divide, and what stays inside one machine. Memory does not matter here.

Candidates are few and sensible: tensor groups stay inside one machine, a pipeline crosses machines or is there because
memory wants it, context is split for long sequences alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace

from tradewind.families import ModelShape
from tradewind.planner.batches import divisors
from tradewind.planner.layout import Layout
from tradewind.planner.work import TrainingWork

LARGEST_PIPELINE = 16
UNEVEN = 1.1
"""Layers of the fullest stage over their mean, at most: DeepSeek-V3's 61 layers lie on 16 stages (section 3.2)."""
LONG_SEQUENCE = 32768
"""Tokens from which a sequence is split over chips; Llama 3 does so for 131 072 (section 3.3.2)."""


def training_layouts(work: TrainingWork, chips: int, used: int, *, deep: bool) -> Iterator[Layout]:
    """Layouts of exactly `used` chips. `deep` ones have pipelines inside machines, or experts across them."""
    tensors = [size for size in tensor_sizes(work.shape, min(chips, used)) if used <= chips or chips % size == 0]
    for tensor in tensors:
        for pipeline in _pipelines(work.shape, chips, used, deep=deep, widest=tensor == tensors[-1]):
            for context in context_sizes(work.tokens_per_sequence, max(1, chips // tensor)):
                data, rest = divmod(used, tensor * pipeline * context)
                if rest == 0 and data and work.sequences % data == 0:
                    yield from _data_layouts(work, chips, Layout(1, data, 1, context, tensor, pipeline), deep=deep)


def replica_layouts(shape: ModelShape, chips: int) -> Iterator[Layout]:
    """Layouts of one replica, the smallest first: tensor groups, experts apart, then whole machines in a pipeline."""
    tensors = tensor_sizes(shape, chips)
    yield from (Layout(tensor=tensor) for tensor in tensors)
    yield from (Layout(expert=expert) for expert in expert_sizes(shape, chips) if 1 < expert <= chips)
    widest = tensors[-1]
    for stages in pipeline_sizes(shape, (2, 3, 4, 6, 8, 12, 16)):
        if stages * widest > chips:
            yield Layout(tensor=widest, pipeline=stages)


def divided_counts(work: TrainingWork, chips: int) -> set[int]:
    """Numbers of chips over which model and batch divide, on machines of so many chips."""
    groups = divisors(work.sequences)
    return {
        data * tensor * context * pipeline
        for tensor in tensor_sizes(work.shape, chips)
        for context in context_sizes(work.tokens_per_sequence, chips // tensor)
        for pipeline in pipeline_sizes(work.shape, range(1, LARGEST_PIPELINE + 1))
        for data in groups
    }


def tensor_sizes(shape: ModelShape, chips: int) -> list[int]:
    """Powers of two up to the chips of a machine that divide everything that tensor groups cut."""
    cut = [shape.heads, shape.kv_heads, shape.ffn, *([shape.experts.ffn] if shape.experts else [])]
    return [size for size in (1, 2, 4, 8, 16) if size <= chips and all(width % size == 0 for width in cut)]


def pipeline_sizes(shape: ModelShape, sizes: Iterable[int]) -> list[int]:
    """Those of the sizes over which layers spread evenly enough."""
    return [size for size in sizes if size <= shape.layers and -(-shape.layers // size) * size <= UNEVEN * shape.layers]


def context_sizes(tokens: int, chips: int) -> list[int]:
    """In how many parts a sequence may be cut; each chip takes two slices, one early and one late, for balance."""
    sizes = [size for size in (2, 4, 8, 16) if chips % size == 0 and tokens % (2 * size) == 0]
    return [1, *(size for size in sizes if tokens // size >= LONG_SEQUENCE // 2)] if tokens > LONG_SEQUENCE else [1]


def expert_sizes(shape: ModelShape, chips: int) -> list[int]:
    """Among how many chips of a machine, or chips of several, routed experts may be divided."""
    if not shape.experts:
        return [1]
    sizes = [size for size in divisors(shape.experts.routed) if chips % size == 0 and size <= 64]
    return sorted({1, *sizes[-3:]})


def _pipelines(shape: ModelShape, chips: int, used: int, *, deep: bool, widest: bool) -> list[int]:
    if deep:
        return [size for size in pipeline_sizes(shape, range(2, LARGEST_PIPELINE + 1)) if used % size == 0]
    if used > chips and used % chips == 0 and widest:
        return pipeline_sizes(shape, [1, *(size for size in (2, 4, 8, 16) if used // chips % size == 0)])
    return [1]


def _data_layouts(work: TrainingWork, chips: int, layout: Layout, *, deep: bool) -> Iterator[Layout]:
    """Ways to share groups of data out: all sharded, or sharded inside a machine and replicated over machines."""
    data, inside = layout.shard, max(1, chips // (layout.tensor * layout.context))
    for expert in expert_sizes(work.shape, data if deep else math.gcd(data, inside)):
        groups, near = data // expert, max(1, inside // expert)
        yield replace(layout, shard=groups, expert=expert)
        if groups > near and groups % near == 0:
            yield replace(layout, replicate=groups // near, shard=near, expert=expert)
        elif groups > 1:
            yield replace(layout, replicate=groups, shard=1, expert=expert)
