"""Products in float8 against exact ones: how far off they are, and what an outlier does to the rest."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from tradewind.training.precision.products import Float8, Plain, Products, Scaling

FAR = 2.0**17
"""Beside rows so much larger, all others lie at e4m3's smallest steps (2^-9, of at most 448) under one scale."""
E4M3_ERROR, E5M2_ERROR = 0.0266, 0.0532
"""Root mean square of what rounding changes, relative to values: 2^-4 and 2^-3 at most, measured on normal numbers."""
BOUND = {
    "tensorwise": {
        "forward": 1.1 * 2**0.5 * E4M3_ERROR,
        "by_input": 1.1 * (E4M3_ERROR**2 + E5M2_ERROR**2) ** 0.5,
        "by_weights": 1.1 * (E4M3_ERROR**2 + E5M2_ERROR**2) ** 0.5,
    },
    "rowwise": dict.fromkeys(("forward", "by_input", "by_weights"), 1.1 * 2**0.5 * E4M3_ERROR),
}
"""Of an error's norm relative to the product's: factors err independently, and their errors add up as products do."""


@dataclass(frozen=True)
class Factors:
    x: Tensor
    weights: tuple[Tensor, ...]
    grad: Tensor

    @classmethod
    def drawn(cls, tokens: int = 64, width: int = 128, sizes: tuple[int, ...] = (96, 32)) -> Factors:
        source = torch.Generator().manual_seed(0)
        x, grad = (torch.randn(tokens, size, generator=source).bfloat16() for size in (width, sum(sizes)))
        weights = (torch.randn(size, width, generator=source).bfloat16() * 0.02 for size in sizes)
        return cls(x, tuple(weights), grad)

    def to(self, where: str | torch.dtype) -> Factors:
        return Factors(self.x.to(where), tuple(weight.to(where) for weight in self.weights), self.grad.to(where))

    def multiplied(self, how: Products) -> dict[str, Tensor]:
        """The three products of a linear map, as a block makes them."""
        top = self.x.abs().amax().float() if how.notes else None
        done = how.forward(self.x, top, self.weights, keep=True)
        grad = how.reached(self.grad, None)
        return {
            "forward": done.out,
            "by_input": how.by_input(grad, self.weights, done.weights_top),
            "by_weights": torch.cat(how.by_weights(grad, done.kept, self.weights)),
        }

    def exact(self) -> dict[str, Tensor]:
        return self.to(torch.float64).multiplied(Plain())


def off(got: Tensor, wanted: Tensor) -> float:
    return float((got.cpu().double() - wanted).norm() / wanted.norm())


def each_scaling(factors: Factors, product: str, kept: tuple[slice, slice], device: str = "cpu") -> tuple[float, float]:
    """How far off a part of a product is, with a scale for each tensor and for each row."""
    wanted = factors.exact()[product][kept]
    made = (factors.to(device).multiplied(Float8(scaling))[product] for scaling in ("tensorwise", "rowwise"))
    tensorwise, rowwise = (off(product[kept], wanted) for product in made)
    return tensorwise, rowwise


def with_far_tokens() -> Factors:
    factors = Factors.drawn()
    factors.x[:4] *= FAR
    return factors


def with_far_channels() -> Factors:
    factors = Factors.drawn()
    factors.x[:, :4] *= FAR
    return factors


@pytest.mark.parametrize("scaling", ["tensorwise", "rowwise"])
def test_products_are_as_near_as_their_formats_allow(scaling: Scaling) -> None:
    factors = Factors.drawn()
    wanted = factors.exact()
    for name, product in factors.multiplied(Float8(scaling)).items():
        assert product.dtype == torch.bfloat16
        assert 0.5 * BOUND[scaling][name] < off(product, wanted[name]) < BOUND[scaling][name], name


def test_far_tokens_spoil_the_others_only_under_one_scale() -> None:
    tensorwise, rowwise = each_scaling(with_far_tokens(), "forward", (slice(4, None), slice(None)))
    assert tensorwise > 0.3
    assert rowwise < BOUND["rowwise"]["forward"]


def test_far_channels_spoil_the_gradients_of_others_only_under_one_scale() -> None:
    tensorwise, rowwise = each_scaling(with_far_channels(), "by_weights", (slice(None), slice(4, None)))
    assert tensorwise > 0.3
    assert rowwise < BOUND["rowwise"]["by_weights"]


def test_input_that_is_cast_later_is_that_of_the_forward_pass() -> None:
    factors, how = Factors.drawn(), Float8("rowwise")
    at_once = how.forward(factors.x, None, factors.weights, keep=True).kept
    for got, wanted in zip(how.kept(factors.x, None), at_once, strict=True):
        assert torch.equal(got.float(), wanted.float())
