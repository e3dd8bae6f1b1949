"""Casts to float8 under the scale of the tensor at hand."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tradewind.training.kernels import largest, scaled, scaled_by_row
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


def test_rows_and_columns_each_have_the_scale_of_their_own_largest_value() -> None:
    x = torch.tensor([[1.0, -3.0], [0.0, 1e-4]])
    got = scaled_by_row((x,), E4M3, rows=True, columns=True)
    limit = torch.finfo(E4M3).max
    assert torch.allclose(got.scale, torch.tensor([[3.0], [1e-4]]) / limit)
    assert torch.allclose(got.columns_scale, torch.tensor([[1.0], [3.0]]) / limit)
    assert got.rows is not None
    assert got.columns is not None
    assert torch.allclose(got.rows.float() * got.scale, x, rtol=STEP[E4M3])
    assert got.rows[1, 1].float() == limit
    assert got.columns.float().abs().amax(1).tolist() == [limit, limit]


@given(st.lists(st.integers(-30, 30), min_size=4, max_size=4), st.sampled_from([E4M3, E5M2]))
def test_a_row_is_kept_to_the_formats_precision_whatever_stands_beside_it(
    exponents: list[int], dtype: torch.dtype
) -> None:
    x = (torch.rand(4, 16, generator=torch.Generator().manual_seed(0)) + 0.5) * 2.0 ** torch.tensor(exponents)[:, None]
    got = scaled_by_row((x,), dtype, rows=True, columns=False)
    assert got.rows is not None
    assert ((got.rows.float() * got.scale - x).abs() / x).max() <= STEP[dtype] * 1.01


@pytest.mark.parametrize("columns", [False, True])
def test_parts_are_cast_as_the_matrix_that_they_make(*, columns: bool) -> None:
    x = torch.randn(7, 5, generator=torch.Generator().manual_seed(0))
    parts = scaled_by_row((x[:3], x[3:]), E4M3, rows=True, columns=columns)
    whole = scaled_by_row((x,), E4M3, rows=True, columns=columns)
    for got, wanted in ((parts.rows, whole.rows), (parts.columns, whole.columns)):
        assert (got is None) is (wanted is None)
        assert got is None or wanted is None or torch.equal(got.float(), wanted.float())
    assert torch.equal(parts.scale, whole.scale)
    assert torch.equal(parts.columns_scale, whole.columns_scale)


def test_rows_of_zeros_stay_zeros() -> None:
    x = torch.zeros(2, 3)
    got = scaled_by_row((x,), E4M3, rows=True, columns=True)
    assert got.rows is not None
    assert torch.equal(got.rows.float() * got.scale, x)
    assert bool(got.scale.gt(0).all())
