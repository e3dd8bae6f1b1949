"""The optimizer's step of a run: the gradient is clipped, and every weight is moved at the step's learning rate."""

from __future__ import annotations

from dataclasses import dataclass

import torch.distributed as dist
from torch import Tensor

from tradewind.specs import OptimizerSpec
from tradewind.training.optimizer import AdamW, Muon
from tradewind.training.parallel import DistributedDecoder


@dataclass(frozen=True)
class Update:
    model: DistributedDecoder
    spec: OptimizerSpec
    optimizer: AdamW

    @classmethod
    def of(cls, model: DistributedDecoder, spec: OptimizerSpec) -> Update:
        trained = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
        if spec.kind == "muon":
            return cls(model, spec, Muon(trained, 0.0, spec.betas, weight_decay=spec.weight_decay))
        weights = [weight for _, weight in trained]
        return cls(model, spec, AdamW(weights, 0.0, spec.betas, weight_decay=spec.weight_decay))

    def step(self, rate: float) -> Tensor:
        """Move the weights and forget the gradient. Gives its norm before it was clipped."""
        layout = self.model.layout
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        norm = self.optimizer.step(
            max_norm=self.spec.clip_norm,
            stage_ranks=layout.world // layout.pipeline,
            group=dist.group.WORLD if layout.world > 1 else None,
        )
        self.optimizer.zero_grad()
        self.model.balance_experts()
        return norm
