"""RMSNorm and its gradient, against autograd in float64."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from tradewind.training.kernels import add_rms_norm, rms_norm, rms_norm_backward

EPS = 1e-5


@pytest.fixture
def drawn() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_it_is_torchs_rms_norm(drawn: torch.Generator) -> None:
    x, weight = torch.randn(5, 12, generator=drawn), torch.randn(12, generator=drawn)
    normed, inverse = rms_norm(x, weight, EPS)
    torch.testing.assert_close(normed, F.rms_norm(x, (12,), weight, EPS))
    torch.testing.assert_close(inverse, (x.square().mean(-1) + EPS).rsqrt())


def test_the_residual_is_added_before_the_norm(drawn: torch.Generator) -> None:
    x, y = torch.randn(2, 5, 12, generator=drawn)
    total, normed, _ = add_rms_norm(x, y, torch.ones(12), EPS)
    assert torch.equal(total, x + y)
    torch.testing.assert_close(normed, F.rms_norm(x + y, (12,), None, EPS))


def test_the_largest_value_is_noted_and_never_shrinks(drawn: torch.Generator) -> None:
    x = torch.randn(5, 12, generator=drawn)
    largest = torch.zeros(())
    normed, _ = rms_norm(x, torch.ones(12), EPS, largest)
    assert largest == normed.abs().max()
    rms_norm(x, torch.full((12,), 0.5), EPS, largest)
    assert largest == normed.abs().max()


@pytest.mark.parametrize("with_gradient_beside", [False, True])
def test_its_gradient_is_autograds(drawn: torch.Generator, *, with_gradient_beside: bool) -> None:
    x, grad, beside = torch.randn(3, 5, 12, generator=drawn, dtype=torch.float64)
    weight = torch.randn(12, generator=drawn, dtype=torch.float64).requires_grad_()
    x.requires_grad_()
    wanted = torch.autograd.grad(F.rms_norm(x, (12,), weight, EPS), (x, weight), grad)
    _, inverse = rms_norm(x.detach(), weight.detach(), EPS)
    got = rms_norm_backward(grad, x.detach(), weight.detach(), inverse, beside if with_gradient_beside else None)
    torch.testing.assert_close(got[0], wanted[0] + beside * with_gradient_beside)
    torch.testing.assert_close(got[1], wanted[1])
