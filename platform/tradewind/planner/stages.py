"""Which weights lie where: the stages of a pipeline, and one chip's share of a stage."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from tradewind.families import ModelShape
from tradewind.families.sizes import attention_parameters, dense_layers, expert_parameters, routed_parameters
from tradewind.planner.layout import Layout


@dataclass(frozen=True, slots=True)
class Stage:
    """Consecutive layers with their weights; without a pipeline, the whole model."""

    dense: int
    """Layers without experts."""
    sparse: int
    """Layers with experts."""
    outside: int
    """Weights that are not in routed experts."""
    routed: int
    embedding: int
    """Of the weights outside, those of an embedding that is not the output matrix too."""
    head: int
    """Of the weights outside, those of the output matrix."""
    block: int
    """Weights of its largest layer outside routed experts."""
    ahead: int
    """Micro-batches that are through before the first one comes back, at most, where each forward pass is followed by
    a backward pass (PipeDream-Flush, Narayanan et al. 2021)."""


@dataclass(frozen=True, slots=True)
class Share:
    """Weights of a stage that one chip has to do with, in numbers of weights."""

    whole: float
    """What it computes with."""
    own: float
    """What it keeps, and changes as the optimizer says: a part of the whole where weights are sharded."""
    block: float
    """Of one layer, as it computes with them."""
    embedding: float
    head: float
    """Of the embedding and of the output matrix, as it computes with them."""
    parts: int
    """How many chips share what each of them computes with; 1 where nothing is sharded."""


@functools.cache
def stages(shape: ModelShape, pipeline: int) -> tuple[Stage, ...]:
    """The first and the last stage: one keeps the most activations, the other makes the logits.

    Layers are spread so that no stage has more than their number over `pipeline`, rounded up.
    """
    size = -(-shape.layers // pipeline)
    dense = dense_layers(shape)
    matrix = shape.vocabulary * shape.hidden
    if pipeline == 1:
        return (_stage(shape, dense, size - dense, 0 if shape.tied else matrix, matrix, 1),)
    early, late = min(size, dense), max(0, dense - (shape.layers - size))
    return (
        _stage(shape, early, size - early, matrix, 0, pipeline),
        _stage(shape, late, size - late, 0, matrix, 1),
    )


def share(stage: Stage, layout: Layout) -> Share:
    """One chip's share. Tensor groups cut every matrix; what is sharded, and by what, says `Layout`."""
    parts = layout.shard * layout.expert * layout.context
    outside, routed = stage.outside / layout.tensor, stage.routed / layout.tensor / layout.expert
    return Share(
        whole=outside + routed,
        own=outside / parts + routed / (layout.shard * layout.context),
        block=stage.block / layout.tensor + (routed / stage.sparse if stage.sparse else 0.0),
        embedding=stage.embedding / layout.tensor,
        head=stage.head / layout.tensor,
        parts=parts,
    )


def _stage(shape: ModelShape, dense: int, sparse: int, embedding: int, head: int, ahead: int) -> Stage:
    blocks = dense * _block(shape, experts=False) + sparse * _block(shape, experts=True)
    norm = shape.hidden if head else 0
    return Stage(
        dense=dense,
        sparse=sparse,
        outside=blocks + embedding + head + norm,
        routed=sparse * (routed_parameters(shape) // max(1, shape.layers - dense_layers(shape))),
        embedding=embedding,
        head=head,
        block=max(_block(shape, experts=False) if dense else 0, _block(shape, experts=True) if sparse else 0),
        ahead=ahead,
    )


def _block(shape: ModelShape, *, experts: bool) -> int:
    attention = attention_parameters(shape) + 2 * shape.hidden
    if shape.experts and experts:
        return attention + shape.experts.shared * expert_parameters(shape) + shape.experts.routed * shape.hidden
    return attention + 3 * shape.hidden * shape.ffn
