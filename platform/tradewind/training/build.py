"""The model of a run as this rank holds it: divided, in its number formats, with its first weights."""

from __future__ import annotations

import functools
import logging
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch.utils.checkpoint import checkpoint

from tradewind.families import parameters
from tradewind.training.hugging_face import load_into
from tradewind.training.job import Job, passes_needed
from tradewind.training.memory_policy import Activations, Work, activations_that_fit
from tradewind.training.model import Decoder
from tradewind.training.model.lora import add_adapters
from tradewind.training.origin import opened
from tradewind.training.parallel import DistributedDecoder, Mesh, Precision
from tradewind.training.precision import accelerate, float8_refusal, settle
from tradewind.training.precision.accelerated import Compute, is_fusable

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float8": torch.bfloat16}
"""In what is computed outside of float8 products, which have a format of their own."""
log = logging.getLogger(__name__)


def build(job: Job, mesh: Mesh) -> DistributedDecoder:
    """The model in memory, without its weights: `first_weights`, or a checkpoint, gives it those."""
    made = Build(job, mesh)
    log.info("%s on %s, computed in %s, recomputed: %s", mesh.layout, mesh.device, made.compute, made.activations)
    return made.model()


def first_weights(job: Job, model: DistributedDecoder) -> None:
    """Draw the weights of the seed, or read those that the run starts from; adapters are drawn either way."""
    start_from = job.spec.start_from
    if start_from is None or job.spec.lora:
        model.initialize(job.spec.seed)
    if start_from is not None:
        with opened(job.store, start_from) as files:
            for decoder in model.decoders:
                load_into(decoder, files)


def compute_format(job: Job, device: torch.device) -> Compute:
    """What products are computed in: the spec's wish where it can be, or the fastest that trains as well."""
    wish = job.spec.precision.compute
    usual: Compute = "bfloat16" if _multiplies_bfloat16(device) else "float32"
    if wish == "float8" and (refusal := float8_refusal(job.shape, device)):
        log.warning("computed in %s: %s", usual, refusal)
        return usual
    return usual if wish == "auto" else wish


def _multiplies_bfloat16(device: torch.device) -> bool:
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


@dataclass(frozen=True)
class Build:
    job: Job
    mesh: Mesh

    @functools.cached_property
    def compute(self) -> Compute:
        return compute_format(self.job, self.mesh.device)

    @functools.cached_property
    def activations(self) -> Activations:
        """What is computed again in the backward pass: as little as fits, unless the spec says."""
        wish = self.job.spec.activations
        if wish != "auto":
            return wish
        if self.mesh.device.type != "cuda":
            return "none"  # whether that fits was asked before the run began
        memory = torch.cuda.get_device_properties(self.mesh.device).total_memory
        return activations_that_fit(self._work(), memory_bytes=memory, states_bytes=self._states_bytes())

    def model(self) -> DistributedDecoder:
        layout, masters = self.mesh.layout, DTYPES[self.job.spec.precision.masters]
        on_chip = self.mesh.device.type == "cuda"
        casts_itself = on_chip and layout.world == 1 and is_fusable(self.job.shape)
        model = DistributedDecoder(
            self.job.shape,
            self.mesh,
            precision=Precision(compute=masters if casts_itself else DTYPES[self.compute]),
            weights=masters,
            z_loss=self.job.spec.optimizer.z_loss,
            before_cutting=self._add_adapters,
            before_sharding=self._accelerate if on_chip else self._prepare,
        )
        if on_chip:
            for decoder in model.whole_decoders:
                settle(decoder, short_gradients=self._passes() == 1 and self.compute != "float32")
        return model

    def _add_adapters(self, decoder: Decoder) -> None:
        if lora := self.job.spec.lora:
            add_adapters(decoder, rank=lora.rank, alpha=lora.alpha, projections=lora.on)

    def _accelerate(self, decoder: Decoder) -> None:
        group = self.mesh.weights.get_group("tensor") if self.mesh.layout.tensor > 1 else None
        done = accelerate(
            decoder,
            compute=self.compute,
            scaling=self.job.spec.precision.scaling,
            activations=self.activations,
            compile_others=self.job.spec.compile is not False,
            tensor_group=group,
        )
        log.info("%s", done)

    def _prepare(self, decoder: Decoder) -> None:
        """On processors nothing is fused: blocks are as they are, or compiled, or run again (Chen et al. 2016)."""
        for block in decoder.model.layers.values():
            if self.activations != "none":
                again: Any = functools.partial(checkpoint, block.forward, use_reentrant=False)
                block.forward = again
            if self.job.spec.compile:
                cast(Any, block).compile()

    def _passes(self) -> int:
        batch = self.job.spec.batch
        return passes_needed(
            sequences=batch.sequences, readers=self.mesh.layout.data_world, at_once=batch.sequences_per_pass
        )

    def _work(self) -> Work:
        """What this rank computes in a pass. Of a pipeline, as many passes are under way as it has stages."""
        layout, batch = self.mesh.layout, self.job.spec.batch
        rows = -(-batch.sequences // layout.data_world)
        at_once = min(rows, batch.sequences_per_pass or (1 if layout.pipeline > 1 else rows))
        return Work(
            shape=self.job.shape,
            layers=self.job.shape.layers,
            tokens=at_once * batch.tokens_per_sequence // (layout.tensor * layout.context),
            fused=is_fusable(self.job.shape),
            float8=self.compute == "float8",
        )

    def _states_bytes(self) -> int:
        """Weights, two moments, a gradient that is summed in float32 and, where ranks gather weights of another type,
        the copy that they gather; of this rank's part, *estimated*.
        """
        layout, masters, compute = self.mesh.layout, DTYPES[self.job.spec.precision.masters], DTYPES[self.compute]
        parts = layout.tensor * layout.pipeline * (layout.shard if layout.zero else 1)
        each = 3 * masters.itemsize + 4 + (compute.itemsize if layout.shard > 1 and masters != compute else 0)
        return parameters(self.job.shape) // parts * each
