"""A decoder over all ranks of a layout: one object that a training loop drives, whatever the axes are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule

from tradewind.families import ModelShape
from tradewind.training.model import Decoder, update_balance
from tradewind.training.parallel.context import positions_of
from tradewind.training.parallel.expert import share_out
from tradewind.training.parallel.mesh import Mesh
from tradewind.training.parallel.pipeline import Pipeline, cut_layers, stage_numbers
from tradewind.training.parallel.sharding import Precision, forget, make, set_last_pass, shard
from tradewind.training.parallel.stage import Stage, part_of_decoder
from tradewind.training.parallel.tensor import cut

Prepare = Callable[[Decoder], None]


class DistributedDecoder:
    """What this rank holds of a decoder. All ranks call the same methods in the same order."""

    def __init__(
        self,
        shape: ModelShape,
        mesh: Mesh,
        *,
        precision: Precision | None = None,
        weights: torch.dtype = torch.float32,
        z_loss: float = 0.0,
        before_cutting: Prepare | None = None,
        before_sharding: Prepare | None = None,
    ) -> None:
        """Nothing is drawn or read yet: `initialize`, or fill `named_parameters()`.

        `before_cutting` may change modules, as adapters and other number formats do; `before_sharding` may wrap or
        compile blocks. Both are given each stage of this rank, on the meta device. Weights are made once, in parts.
        """
        self.shape, self.mesh, self.layout = shape, mesh, mesh.layout
        self.precision = precision or Precision(compute=weights)
        layers = cut_layers(shape, self.layout.stages, tokens=shape.context)
        self.stages = [
            Stage(part_of_decoder(shape, layers[number]), mesh, z_loss=z_loss)
            for number in stage_numbers(self.layout, mesh.pipeline_rank)
        ]
        for stage in self.stages:
            for weight in stage.parameters():  # and no buffers: the router's are counts and small steps
                weight.data = weight.data.to(weights)
            if before_cutting:
                before_cutting(stage.decoder)
            if self.layout.tensor > 1:
                cut(stage.decoder, mesh.weights["tensor"])
            if self.layout.expert_ranks > 1:
                share_out(stage.decoder, mesh.experts["expert"])
            if before_sharding:
                before_sharding(stage.decoder)
            shard(stage, mesh, self.precision)
            make(stage, self.precision)
        self._pipeline: Pipeline | None = None

    @property
    def decoders(self) -> list[Decoder]:
        """The stages that this rank runs; the whole decoder where there is no pipeline."""
        return [stage.decoder for stage in self.stages]

    @property
    def whole_decoders(self) -> list[Decoder]:
        """Of `decoders`, those whose weights are whole and plain here: neither cut nor gathered."""
        plain = [stage for stage in self.stages if not isinstance(stage, FSDPModule)]
        return [stage.decoder for stage in plain if self.layout.tensor == 1]

    def initialize(self, seed: int) -> None:
        """Draw the first weights, the same for every layout."""
        for decoder in self.decoders:
            decoder.initialize(seed)

    def parameters(self) -> Iterator[nn.Parameter]:
        for decoder in self.decoders:
            yield from decoder.parameters()

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Under the names that they have in a whole decoder."""
        for decoder in self.decoders:
            yield from decoder.named_parameters()

    def state_dict(self) -> dict[str, Any]:
        """Weights and buffers of this rank's stages by their names in a whole decoder; parts are DTensors."""
        return {name: value for decoder in self.decoders for name, value in decoder.state_dict().items()}

    def train_pass(
        self, tokens: Tensor, targets: Tensor, documents: Tensor | None = None, *, scale: float, is_last: bool = True
    ) -> Tensor:
        """Forward and backward of [sequences, time]: what this data rank reads of one pass, whole sequences.

        Adds `scale` × the gradient of the loss, summed over all ranks. Gives the summed loss in nats of this rank's
        tokens, detached; where `mesh.counts_losses`, they add up to that of all. Of a step's passes the last says so.
        """
        for stage in self.stages:
            stage.train()
            set_last_pass(stage, is_last=is_last)
        tokens, targets = self._mine(tokens), self._mine(targets)
        if self.layout.pipeline > 1:
            return self._pipeline_for(tokens).train(tokens, targets, documents, scale=scale)
        stage = self.stages[0]
        loss = stage.loss(stage(tokens, documents), targets)
        (loss * scale).backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    @torch.no_grad()
    def evaluate_pass(self, tokens: Tensor, targets: Tensor, documents: Tensor | None = None) -> Tensor:
        """The loss of a pass as `train_pass` gives it, without gradients."""
        for stage in self.stages:
            stage.eval()
        loss = self._evaluate(self._mine(tokens), self._mine(targets), documents)
        for stage in self.stages:
            forget(stage)
        return loss

    def _evaluate(self, tokens: Tensor, targets: Tensor, documents: Tensor | None) -> Tensor:
        if self.layout.pipeline > 1:
            return self._pipeline_for(tokens).evaluate(tokens, targets, documents)
        stage = self.stages[0]
        return stage.loss(stage(tokens, documents), targets)

    def balance_experts(self, *, rate: float = 0.001) -> Tensor:
        """Move the routers' biases of this rank's stages by the visits of all tokens; see `update_balance`."""
        return torch.cat([update_balance(one, rate=rate, group=self.mesh.stage_group) for one in self.decoders])

    def _mine(self, tokens: Tensor) -> Tensor:
        """Of each sequence the parts that this rank holds."""
        if self.layout.context == 1:
            return tokens
        return tokens[:, positions_of(self.mesh.context_rank, self.layout.context, tokens.shape[1], tokens.device)]

    def _pipeline_for(self, tokens: Tensor) -> Pipeline:
        if self._pipeline is None or self._pipeline.shape != tokens.shape:
            self._pipeline = Pipeline(self.stages, self.mesh, tokens=tokens, compute=self.precision.compute)
        return self._pipeline
