"""Names that are loaded when they are asked for."""

from __future__ import annotations

import pytest

from tradewind.lazy import exports


def test_name_comes_from_its_module() -> None:
    from tradewind.training.run import Run

    assert exports("tradewind.training", {"Run": ".run"})("Run") is Run


def test_other_names_are_no_attributes() -> None:
    with pytest.raises(AttributeError, match=r"has no attribute 'Walk'"):
        exports("tradewind.training", {"Run": ".run"})("Walk")
