"""Casts to float8 under the scale of the tensor at hand."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tradewind.training.kernels import largest, scaled
from tradewind.training.kernels.cast import E4M3, E5M2

STEP = {E4M3: 2.0**-4, E5M2: 2.0**-3}
"""Half the distance between neighbours, relative to a value: 3 and 2 bits behind the first."""


@given(st.integers(-20, 20), st.sampled_from([E4M3, E5M2]))
def test_values_are_kept_to_the_formats_precision_whatever_their_size(exponent: int, dtype: torch.dtype) -> None:
    x = (torch.rand(8, 16, generator=torch.Generator().manual_seed(0)) + 0.5) * 2.0**exponent
    got = scaled((x,), largest(x), dtype, rows=True, columns=False)
    assert got.rows is not None
    error = (got.rows.float() * got.scale - x).abs() / x
    assert error.max() <= STEP[dtype] * 1.01


def test_the_largest_value_meets_the_largest_number_of_the_format() -> None:
    x = torch.tensor([[1.0, -3.0]])
    got = scaled((x,), largest(x), E4M3, rows=True, columns=True)
    assert got.rows is not None
    assert got.columns is not None
    assert got.rows.float().abs().max() == torch.finfo(E4M3).max
    assert torch.equal(got.columns.float(), got.rows.float().t())


def test_parts_are_stacked_under_one_scale() -> None:
    small, large = torch.full((2, 3), 0.5), torch.full((1, 3), 2.0)
    got = scaled((small, large), largest(small, large), E4M3, rows=True, columns=True)
    assert got.rows is not None
    assert got.columns is not None
    assert torch.equal(got.rows.float() * got.scale, torch.cat([small, large]))
    assert got.columns.shape == (3, 3)


@pytest.mark.parametrize("dtype", [E4M3, E5M2])
def test_zeros_stay_zeros(dtype: torch.dtype) -> None:
    x = torch.zeros(2, 2)
    got = scaled((x,), largest(x), dtype, rows=True, columns=False)
    assert got.rows is not None
    assert torch.equal(got.rows.float() * got.scale, x)
