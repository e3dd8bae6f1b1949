"""SwiGLU and its gradient, against autograd in float64."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from tradewind.training.kernels import swiglu, swiglu_backward


def test_value_and_gradient_are_autograds() -> None:
    drawn = torch.Generator().manual_seed(0)
    gate_up = torch.randn(5, 14, generator=drawn, dtype=torch.float64).requires_grad_()
    grad = torch.randn(5, 7, generator=drawn, dtype=torch.float64)
    gate, up = gate_up.chunk(2, dim=1)
    wanted = F.silu(gate) * up
    (by_gate_up,) = torch.autograd.grad(wanted, gate_up, grad)
    largest = torch.zeros(())
    got, again = swiglu_backward(grad, gate_up.detach(), largest)
    torch.testing.assert_close(swiglu(gate_up.detach()), wanted.detach())
    torch.testing.assert_close(got, by_gate_up)
    torch.testing.assert_close(again, wanted.detach())
    torch.testing.assert_close(largest, by_gate_up.abs().max().float())
