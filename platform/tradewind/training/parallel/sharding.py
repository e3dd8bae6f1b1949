"""Weights, gradients and optimizer states over ranks that see different tokens: FSDP2 with the settings of ZeRO."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor

from tradewind.training.model.experts import RoutedExperts
from tradewind.training.parallel.exchanged import exchange_gradients, hosts_of_ranks
from tradewind.training.parallel.gathered import gather_in_place
from tradewind.training.parallel.mesh import Mesh
from tradewind.training.parallel.parts import sum_partial, tie
from tradewind.training.parallel.stage import Stage

SMALLEST_GROUP = 2**20
"""Weights. Four blocks of 0.2 M on two gloo ranks: 14.4 k tokens/s gathered together, 9.5 k one by one (2 cores)."""


@dataclass(frozen=True)
class Precision:
    """What is multiplied in `compute` is kept in the weights' own type, and gradients are added up in `reduce`."""

    compute: torch.dtype = torch.float32
    reduce: torch.dtype = torch.float32


def shard(stage: Stage, mesh: Mesh, precision: Precision) -> None:
    """Shard a stage over the data axes, in place. Gradients are summed over them, not averaged.

    A block is gathered by itself, just before it is used, unless it is so small that waiting for the collective costs
    more than its memory is worth; small ones are gathered together with what is outside of blocks. Where there is
    nothing to share and nothing to cast, FSDP2 would only copy, and is left out.
    """
    alone = mesh.layout.shard * mesh.layout.context * mesh.layout.replicate == 1
    if alone and all(weight.dtype == precision.compute for weight in stage.parameters()):
        return
    policy = MixedPrecisionPolicy(
        param_dtype=precision.compute, reduce_dtype=precision.reduce, cast_forward_inputs=False
    )
    in_each_pass = mesh.layout.zero >= 2 and mesh.layout.pipeline == 1  # see `set_last_pass`
    exchanges = in_each_pass and precision.compute != precision.reduce
    hosts = hosts_of_ranks() if exchanges else []
    for group in _groups(stage, mesh):
        again = mesh.layout.zero == 3 and not group.is_last
        sharded = fully_shard(group.module, mesh=group.axes, mp_policy=policy, reshard_after_forward=again)
        sharded.set_gradient_divide_factor(1.0)
        sharded.set_force_sum_reduction_for_comms(True)  # gloo cannot multiply while it reduces, as NCCL would
        if exchanges:
            ranks = dist.get_process_group_ranks(group.axes.get_group("shard"))
            exchange_gradients(sharded, precision.compute, ranks, hosts)
    if isinstance(stage.decoder.lm_head, FSDPModule):
        register_fsdp_forward_method(stage.decoder.lm_head, "loss")
    _gather_ahead(stage)


def make(stage: Stage, precision: Precision) -> None:
    """Give memory to the weights that this rank holds; what is in them is not defined yet."""
    stage.to_empty(device=stage.mesh.device)
    tie(stage.decoder)
    for weight in stage.parameters():
        if isinstance(stage, FSDPModule):
            gather_in_place(weight, precision.compute)
        elif weight.requires_grad and isinstance(weight, DTensor):
            weight.register_post_accumulate_grad_hook(sum_partial)  # type: ignore[no-untyped-call]


def set_last_pass(stage: Stage, *, is_last: bool) -> None:
    """Before each backward of a step: what waits for its last one. See `Layout.zero`."""
    for module in _sharded(stage):
        if stage.mesh.layout.zero <= 1:
            module.set_requires_gradient_sync(is_last, recurse=False)
            module.set_reshard_after_backward(is_last, recurse=False)
        else:
            module.set_requires_all_reduce(is_last, recurse=False)
        module.set_is_last_backward(is_last)


def forget(stage: Stage) -> None:
    """After a forward without a backward: let go of gathered weights, or they would be used when they have changed."""
    for module in _sharded(stage):
        module.reshard()


def _gather_ahead(stage: Stage) -> None:
    """Before a module computes, the gather of the next one begins; backward, FSDP2 sees to that itself."""
    model = stage.decoder.model
    order: list[Any] = [model.embed_tokens, *model.layers.values(), stage.decoder.lm_head]
    gathered = [module for module in order if isinstance(module, FSDPModule)]
    for module, following in itertools.pairwise(gathered):
        module.set_modules_to_forward_prefetch([following])


@dataclass(frozen=True)
class _Group:
    """Weights that are gathered together, and whose gradients are reduced together."""

    module: nn.Module
    axes: DeviceMesh
    """Over which they are sharded."""
    is_last: bool = False
    """Whether their backward pass follows their forward pass at once, so that they are kept for it."""


def _groups(stage: Stage, mesh: Mesh) -> Iterator[_Group]:
    """Modules that are gathered by themselves, inner ones first, and at last the stage with what is left."""
    decoder, axes = stage.decoder, mesh.data(mesh.weights)
    if decoder.model.embed_tokens is not None and not decoder.shape.tied and _is_large(decoder.model.embed_tokens):
        yield _Group(decoder.model.embed_tokens, axes)
    for block in decoder.model.layers.values():
        if mesh.layout.expert_ranks > 1:
            for module in block.modules():
                if isinstance(module, RoutedExperts):
                    yield _Group(module, mesh.data(mesh.experts))
        if _is_large(block):
            yield _Group(block, axes)
    if decoder.lm_head is not None and not decoder.shape.tied and _is_large(decoder.lm_head):
        yield _Group(decoder.lm_head, axes, is_last=True)
    yield _Group(stage, axes, is_last=True)


def _is_large(module: nn.Module) -> bool:
    return sum(weight.numel() for weight in module.parameters()) >= SMALLEST_GROUP


def _sharded(stage: Stage) -> Iterator[FSDPModule]:
    return (module for module in stage.modules() if isinstance(module, FSDPModule))
