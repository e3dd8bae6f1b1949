from __future__ import annotations

import pytest

from tradewind.catalog import load_catalog
from tradewind.errors import NotFoundError
from tradewind.planner.ownership.fitting import fit

CATALOG = load_catalog()


def test_r1_does_not_fit_on_eight_a100_but_in_four_bits_or_on_eight_h200() -> None:
    found = fit(CATALOG, "deepseek-r1", CATALOG.chip("A100-SXM-80GB"), chips=8)
    assert not found.fits
    assert found.sequences["bf16"] is found.sequences["fp8"] is None
    assert str(found) == (
        "deepseek-r1 does not fit on 8 × A100-SXM-80GB in bf16 or fp8; "
        "nearest: int4 weights on it or 8 × H200-SXM in fp8"
    )


def test_model_that_fits_says_in_which_precisions() -> None:
    found = fit(CATALOG, "deepseek-r1", CATALOG.chip("H200-SXM"), chips=8)
    assert found.fits
    assert found.nearest == ()
    assert "with weights in fp8" in str(found)


def test_unknown_model_names_the_nearest() -> None:
    with pytest.raises(NotFoundError, match=r"did you mean 'deepseek-r1'\?"):
        fit(CATALOG, "deepseek-r2", CATALOG.chip("H200-SXM"), chips=8)
