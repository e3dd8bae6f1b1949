"""Products in float8 by the chip's own units, against exact ones and against those of the processor."""

from __future__ import annotations

import pytest

from tests.training.precision.test_products import (
    BOUND,
    Factors,
    each_scaling,
    off,
    with_far_channels,
    with_far_tokens,
)
from tradewind.training.precision.products import Float8, Scaling

pytestmark = pytest.mark.gpu
SIZES = {"small": (64, 128, (96, 32)), "large": (2048, 4096, (1024, 256, 256))}
FAST_SUMS = 1e-3
"""What sums in the units' own width may add to an error, where they are allowed: of up to 4,096 products here."""


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scaling", ["tensorwise", "rowwise"])
def test_products_are_as_near_as_their_formats_allow(scaling: Scaling, size: str) -> None:
    factors = Factors.drawn(*SIZES[size])
    wanted = factors.exact()
    for name, product in factors.to("cuda").multiplied(Float8(scaling)).items():
        assert off(product, wanted[name]) < BOUND[scaling][name] + FAST_SUMS, name


@pytest.mark.parametrize("scaling", ["tensorwise", "rowwise"])
def test_products_are_those_of_the_processor(scaling: Scaling) -> None:
    factors = Factors.drawn()
    wanted = factors.multiplied(Float8(scaling))
    for name, product in factors.to("cuda").multiplied(Float8(scaling)).items():
        assert off(product, wanted[name].double()) < 2e-2, name


def test_far_tokens_and_channels_spoil_others_only_under_one_scale() -> None:
    for factors, product, kept in (
        (with_far_tokens(), "forward", (slice(4, None), slice(None))),
        (with_far_channels(), "by_weights", (slice(None), slice(4, None))),
    ):
        tensorwise, rowwise = each_scaling(factors, product, kept, device="cuda")
        print(product, tensorwise, rowwise)
        assert tensorwise > 0.3
        assert rowwise < BOUND["rowwise"][product] + FAST_SUMS
