"""Cross-entropy that leaves its gradient in the place of the logits, against autograd in float64."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from tradewind.training.kernels import cross_entropy_


def test_loss_and_gradient_are_autograds_and_rows_without_target_count_nothing() -> None:
    logits = torch.randn(6, 11, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    targets = torch.tensor([3, 0, -100, 10, 5, 5])
    weight = 1e-2
    loss = F.cross_entropy(logits, targets, reduction="none")
    loss = loss + weight * torch.where(targets >= 0, logits.logsumexp(-1).square(), 0)
    (wanted,) = torch.autograd.grad(loss.sum(), logits)
    given = logits.detach().clone()
    torch.testing.assert_close(cross_entropy_(given, targets, weight), loss.detach())
    torch.testing.assert_close(given, wanted)
    assert not given[2].any()
