"""Cross-entropy of logits and its gradient, in one call that leaves the gradient where the logits were."""

from __future__ import annotations

import torch
from torch import Tensor

from tradewind.training.kernels.norm import wide


def cross_entropy_(logits: Tensor, targets: Tensor, z_loss: float = 0.0) -> Tensor:
    """Nats of each row, float32; `logits` [tokens, vocabulary] become the gradient of their sum.

    Rows whose target is negative count nothing: loss and gradient 0. `z_loss` is the weight of log(Z)^2 (Chowdhery et
    al. 2022 (PaLM), section 5).
    """
    if logits.is_cuda:
        from tradewind.training.kernels.on_gpu import cross_entropy as on_gpu

        return on_gpu.cross_entropy_(logits, targets, z_loss)
    counts = targets >= 0
    rows = torch.arange(len(logits), device=logits.device)
    values = wide(logits)
    log_sum = torch.logsumexp(values, dim=-1)
    loss = log_sum - values[rows, targets.clamp(min=0)] + z_loss * log_sum.square()
    grad = (values - log_sum[:, None]).exp() * (1 + 2 * z_loss * log_sum)[:, None]
    grad[rows, targets.clamp(min=0)] -= 1
    logits.copy_(torch.where(counts[:, None], grad, 0))
    return torch.where(counts, loss, 0)
