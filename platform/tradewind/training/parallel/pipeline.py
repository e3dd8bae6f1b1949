"""Pipelines: consecutive layers on each rank, and parts of a batch that follow each other through them.

The schedules are torch's, 1F1B and interleaved (Narayanan et al. 2021, section 2.2). Here are where the layers are cut,
and what a stage is given.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor
from torch.distributed.pipelining import PipelineStage, Schedule1F1B, ScheduleInterleaved1F1B

from tradewind.families import ModelShape
from tradewind.families.sizes import attention_parameters, dense_layers, expert_parameters, value_dim
from tradewind.training.parallel.layout import Layout
from tradewind.training.parallel.mesh import Mesh
from tradewind.training.parallel.stage import Stage


class Pipeline:
    """Stages of this rank and the schedule that runs them, for sequences of one length."""

    def __init__(self, stages: Sequence[Stage], mesh: Mesh, *, tokens: Tensor, compute: torch.dtype) -> None:
        """`tokens` is a batch like those to come: the sizes of messages follow from it, and are never asked for."""
        layout = mesh.layout
        numbers = stage_numbers(layout, mesh.pipeline_rank)
        rows, time = tokens.shape[0] // layout.microbatches, tokens.shape[1]
        size = (rows, time // layout.tensor, stages[0].decoder.shape.hidden)
        hidden = torch.empty(size, dtype=compute, device="meta", requires_grad=True)
        words = torch.empty(rows, time, dtype=torch.int64, device="meta")
        parts = [
            _Part(
                stage,
                number,
                layout.stages,
                mesh.device,
                input_args=hidden if number else words,
                output_args=hidden,
                group=mesh.weights.get_group("pipeline"),
            )
            for stage, number in zip(stages, numbers, strict=True)
        ]
        self.shape = tokens.shape
        self._is_first, self._is_last = numbers[0] == 0, numbers[-1] == layout.stages - 1
        kind: Any = Schedule1F1B if len(parts) == 1 else ScheduleInterleaved1F1B
        self._schedule = kind(
            parts[0] if len(parts) == 1 else parts,
            n_microbatches=layout.microbatches,
            loss_fn=self._loss,
            scale_grads=False,
        )
        self._stages = stages
        self._scale = 1.0

    def train(self, tokens: Tensor, targets: Tensor, documents: Tensor | None, *, scale: float) -> Tensor:
        """Forward and backward of a batch. Gives the summed loss of my tokens, 0 where this rank has no head."""
        self._scale = scale
        return self._run(self._schedule.step, tokens, targets, documents) / scale

    @torch.no_grad()
    def evaluate(self, tokens: Tensor, targets: Tensor, documents: Tensor | None) -> Tensor:
        self._scale = 1.0
        return self._run(self._schedule.eval, tokens, targets, documents)

    def _run(self, step: Any, tokens: Tensor, targets: Tensor, documents: Tensor | None) -> Tensor:
        losses: list[Tensor] = []
        inputs = (tokens,) if self._is_first else ()
        surroundings = {} if documents is None else {"documents": documents}
        target = targets if self._is_last else None
        step(*inputs, target=target, losses=losses if self._is_last else None, return_outputs=False, **surroundings)
        return (
            torch.stack([loss.detach() for loss in losses]).sum()
            if losses
            else tokens.new_zeros((), dtype=torch.float32)
        )

    def _loss(self, hidden: Tensor, targets: Tensor) -> Tensor:
        return self._stages[-1].loss(hidden, targets) * self._scale


class _Part(PipelineStage):
    def _post_metadata_inference_cleanup(self) -> None:
        """Keep the gradients of earlier passes.

        Torch forgets them when a schedule begins or turns from training to evaluation, in case that it has run the
        stage to see what comes out; it was told.
        """


def stage_numbers(layout: Layout, rank: int) -> list[int]:
    """Stages of a rank: those that lie `pipeline` apart, so that neighbours are on neighbouring ranks."""
    return list(range(rank, layout.stages, layout.pipeline))


def cut_layers(shape: ModelShape, stages: int, *, tokens: int) -> list[range]:
    """Layers of each stage, so that the slowest is as fast as can be, at `tokens` in a sequence.

    Work is counted in multiplications per token: weights that a token meets, and half the pairs of causal attention.
    The embedding is free, the head is not: of Llama 3.1 8B it costs as much as 2.2 layers.
    """
    costs = [_cost(shape, number, tokens) for number in range(shape.layers)]
    costs[-1] += shape.hidden * shape.vocabulary
    before = list(accumulate(costs, initial=0.0))
    best: list[Cut] = [(cost, cost**2, (end,)) for end, cost in enumerate(before)]
    for _ in range(1, stages):
        best = [_with_another_stage(best, before, end) for end in range(shape.layers + 1)]
    return [range(first, end) for first, end in pairwise((0, *best[-1][2]))]


Cut = tuple[float, float, tuple[int, ...]]
"""The slowest stage's cost, the sum of squares that tells even cuts from uneven ones, and where stages end."""


def _with_another_stage(best: list[Cut], before: list[float], end: int) -> Cut:
    """The best cut of the first `end` layers, given those into one stage less of all shorter beginnings."""
    cuts = [
        (max(slowest, before[end] - before[start]), squares + (before[end] - before[start]) ** 2, (*ends, end))
        for start, (slowest, squares, ends) in enumerate(best[:end])
        if start and slowest < math.inf
    ]
    return min(cuts, default=(math.inf, math.inf, ()))


def _cost(shape: ModelShape, layer: int, tokens: int) -> float:
    pairs = tokens / 2 * shape.heads * (shape.head_dim + value_dim(shape))
    if layer < dense_layers(shape):
        return attention_parameters(shape) + 3 * shape.hidden * shape.ffn + pairs
    assert shape.experts is not None
    visited = (shape.experts.active + shape.experts.shared) * expert_parameters(shape)
    return attention_parameters(shape) + visited + shape.hidden * shape.experts.routed + pairs
