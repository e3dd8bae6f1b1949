"""The optimizer's step of a run: the gradient is clipped, then every weight is moved at the step's learning rate."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim import Optimizer

from tradewind.specs import OptimizerSpec
from tradewind.training.parallel import DistributedDecoder, clip


@dataclass(frozen=True)
class Update:
    model: DistributedDecoder
    spec: OptimizerSpec
    optimizers: tuple[Optimizer, ...]

    @classmethod
    def of(cls, model: DistributedDecoder, spec: OptimizerSpec) -> Update:
        trained = [weight for weight in model.parameters() if weight.requires_grad]
        adamw = torch.optim.AdamW(trained, lr=0.0, betas=spec.betas, weight_decay=spec.weight_decay)
        return cls(model, spec, (adamw,))

    def step(self, rate: float) -> Tensor:
        """Move the weights and forget the gradient. Gives its norm before it was clipped."""
        norm = clip(self.model.parameters(), self.spec.clip_norm, self.model.layout)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
            optimizer.zero_grad()
        self.model.balance_experts()
        return norm
