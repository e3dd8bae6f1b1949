"""How long a training step takes: arithmetic, memory, and what of communication cannot hide behind them.

Times of kernels add up, because one chip does one thing at a time. Shares of the peaks are in `efficiency.py`, links in
`network.py`. Not modelled: uneven experts, a slow machine among many, input from a loaded store, and failures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

from tradewind.catalog.chip import BITS
from tradewind.families import ModelShape
from tradewind.families.sizes import training_flops_per_token
from tradewind.planner.efficiency import STEP_S, chip_speed, peak_flops, plain_precision
from tradewind.planner.exchange import exchange
from tradewind.planner.layout import Layout, TrainingSetup
from tradewind.planner.network import chip_link, network_link
from tradewind.planner.node import Node
from tradewind.planner.pass_time import pass_time
from tradewind.planner.products import weights
from tradewind.planner.work import TrainingWork

ADAM_ACCESSES = 7
"""Weight and both moments read and written, gradient read."""

CLIP_ACCESSES = 3
"""Gradients read for their norm, read and written for the scale."""

SHARDED_COPY_BYTES = 14
"""For each gathered weight: copied out after two gathers, and its gradient cast and copied in (FSDP2, fp32 reduce)."""

CAST_WEIGHT_BYTES = 12
"""For each weight kept in more bits than it computes in: cast once, and its gradient back."""

KERNELS, LAUNCH_S = 60, 4e-6
"""Launched for a block, forward and backward, and the host's time for one: short blocks wait for them. Estimated."""

TOKEN_BYTES = 4


@dataclass(frozen=True)
class StepTime:
    """One step, in seconds of its slowest chip. The parts add up to `total_s`."""

    matmul_s: float
    attention_s: float
    memory_s: float
    """Norms, positions, activation functions, casts, clipping and the optimizer."""
    communication_s: float
    """What does not hide behind the rest."""
    bubble_s: float
    """Waiting of a pipeline's stages for each other."""
    data_s: float
    """Waiting for tokens to arrive."""
    overhead_s: float
    tokens: int
    """Of all chips."""
    flops: float
    """Of all chips, recomputation not counted."""
    peak_flops: float
    """Of all chips, in 16 bits, or in 32 where they train in those."""
    assumptions: tuple[str, ...] = ()
    """What stands in the place of figures that the catalogue does not have."""

    @property
    def total_s(self) -> float:
        kernels_s = self.matmul_s + self.attention_s + self.memory_s
        return kernels_s + self.communication_s + self.bubble_s + self.data_s + self.overhead_s

    @property
    def tokens_per_s(self) -> float:
        return self.tokens / self.total_s

    @property
    def mfu(self) -> float:
        """Model FLOPs utilization (PaLM, appendix B): weights without the embedding, attention as if not causal."""
        return self.flops / self.total_s / self.peak_flops


def training_step(
    work: TrainingWork, setup: TrainingSetup, node: Node, nodes: int, *, compiled: bool = True
) -> StepTime:
    """How long one step takes on `nodes` such machines. Estimated, from shares that were measured on one H200.

    `compiled` says whether torch.compile fuses what lies between products. Raises CapacityError where the chip does not
    have the precision, or the catalogue not its figures.
    """
    shape, layout, passes = work.shape, setup.layout, setup.micro_batches
    speed = chip_speed(node.chip, work.precision)
    one = pass_time(
        shape,
        speed,
        work.precision,
        sequences=setup.micro_batch,
        length=work.tokens_per_sequence,
        tensor=layout.tensor,
        context=layout.context,
        expert=layout.expert,
        recompute=setup.recompute,
        compiled=compiled,
    )
    stage = math.ceil(shape.layers / layout.pipeline) / shape.layers
    communication_s = exchange(work, setup, node, one).total_s
    passes_s = passes * (stage * one.memory_s + one.head_memory_s)
    parts = {
        "matmul_s": passes * (stage * one.matmul_s + one.head_matmul_s),
        "attention_s": passes * stage * one.attention_s,
        "memory_s": passes_s + _weight_bytes(work, setup) / speed.elementwise_bytes_per_s,
        "communication_s": communication_s,
        # One forward, one backward in turn (Narayanan et al. 2021, section 2.2.1): the others wait for the first pass.
        "bubble_s": (layout.pipeline - 1) * ((one.blocks_s + one.head_s) / layout.pipeline + communication_s / passes),
        "overhead_s": STEP_S + passes * _launches_s(stage * shape.layers, stage * one.blocks_s, is_cpu=speed.is_cpu),
    }
    tokens = setup.sequences * work.tokens_per_sequence
    read_s = tokens * TOKEN_BYTES / (nodes * network_link(node).bytes_per_s)
    return StepTime(
        **parts,
        data_s=max(0.0, read_s - sum(parts.values())),
        tokens=tokens,
        flops=tokens * _flops_per_token(shape, work.tokens_per_sequence),
        peak_flops=layout.chips * peak_flops(node.chip, plain_precision(node.chip, work.precision)),
        assumptions=_assumptions(node, layout),
    )


def training_hours(*, parameters: float, tokens: float, flops: float, mfu: float, chips: int = 1) -> float:
    """Hours by 6·N·D (Kaplan et al. 2020, section 2.1): active `parameters` for experts, `flops` the peak of a chip.

    Leaves attention out, so long sequences take longer.
    """
    return 6.0 * parameters * tokens / (flops * mfu * chips) / 3600


def _launches_s(layers: float, computed_s: float, *, is_cpu: bool) -> float:
    """Waiting for launches in one pass. Processors launch and compute with the same cores, others side by side."""
    launches_s = KERNELS * LAUNCH_S * layers
    return launches_s if is_cpu else max(0.0, launches_s - computed_s)


def _weight_bytes(work: TrainingWork, setup: TrainingSetup) -> float:
    """Bytes of casts, clipping and the optimizer in a step."""
    layout, kept = setup.layout, BITS[work.master] / 8
    dense, routed = weights(work.shape)
    apart = layout.tensor * layout.pipeline
    held = (dense + routed / layout.expert) / apart
    shards = layout.shard * layout.expert * layout.context
    sharded = shards > 1 or layout.expert > 1
    copied = (SHARDED_COPY_BYTES if setup.zero == 3 else 0) if sharded else (CAST_WEIGHT_BYTES if kept == 4 else 0)
    if work.precision == "fp32" and not sharded:
        copied = 0
    changed = (dense + routed) / (apart * shards)
    return held * copied * setup.micro_batches + changed * (ADAM_ACCESSES + CLIP_ACCESSES) * kept


@lru_cache(maxsize=256)
def _flops_per_token(shape: ModelShape, context: int) -> float:
    flops = training_flops_per_token(shape, context=context)
    return flops.matmul + 2 * flops.attention


def _assumptions(node: Node, layout: Layout) -> tuple[str, ...]:
    if layout.chips == 1:
        return ()
    across, inside = layout.chips > node.chips, node.chips > 1
    return _unknown(across and network_link(node).estimated, inside and chip_link(node).estimated)


@lru_cache
def _unknown(network: bool, link: bool) -> tuple[str, ...]:
    texts = ((network, "a network of 10 Gbit/s between machines"), (link, "PCIe 3 between chips"))
    return tuple(text for holds, text in texts if holds)
