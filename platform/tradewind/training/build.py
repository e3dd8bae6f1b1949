"""The model of a run as this rank holds it: divided, in its number formats, with its first weights."""

from __future__ import annotations

import functools
import logging
from typing import Any, cast

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from tradewind.training.hugging_face import load_into
from tradewind.training.job import Job
from tradewind.training.model import Decoder
from tradewind.training.model.lora import add_adapters
from tradewind.training.origin import opened
from tradewind.training.parallel import DistributedDecoder, Mesh, Precision

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float8": torch.bfloat16}
"""In what is computed outside float8 products, which have a format of their own."""
log = logging.getLogger(__name__)


def build(job: Job, mesh: Mesh) -> DistributedDecoder:
    """The model in memory, without its weights: `first_weights`, or a checkpoint, gives it those."""
    compute = compute_format(job, mesh.device)
    model = DistributedDecoder(
        job.shape,
        mesh,
        precision=Precision(compute=DTYPES[compute]),
        weights=DTYPES[job.spec.precision.masters],
        z_loss=job.spec.optimizer.z_loss,
        before_cutting=functools.partial(_add_adapters, job),
        before_sharding=functools.partial(_prepare, job),
    )
    log.info("%s on %s, computed in %s", mesh.layout, mesh.device, compute)
    return model


def first_weights(job: Job, model: DistributedDecoder) -> None:
    """Draw the weights of the seed, or read those that the run starts from; adapters are drawn either way."""
    start_from = job.spec.start_from
    if start_from is None or job.spec.lora:
        model.initialize(job.spec.seed)
    if start_from is not None:
        with opened(job.store, start_from) as files:
            for decoder in model.decoders:
                load_into(decoder, files)


def compute_format(job: Job, device: torch.device) -> str:
    """What products are computed in: the spec's wish, or the fastest that trains without loss on the device."""
    wish = job.spec.precision.compute
    if wish != "auto":
        return wish
    return (
        "bfloat16" if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    )


def _add_adapters(job: Job, decoder: Decoder) -> None:
    if lora := job.spec.lora:
        add_adapters(decoder, rank=lora.rank, alpha=lora.alpha, projections=lora.on)


def _prepare(job: Job, decoder: Decoder) -> None:
    """Wrap and compile the blocks before they are sharded."""
    for block in decoder.model.layers.values():
        if job.spec.activations == "full":
            _recompute(block)
        if job.spec.compile:
            cast(Any, block).compile()


def _recompute(block: nn.Module) -> None:
    """Keep a block's input alone, and run it again in the backward pass (Chen et al. 2016)."""
    block.forward = functools.partial(checkpoint, block.forward, use_reentrant=False)  # type: ignore[method-assign]
