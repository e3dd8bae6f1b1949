"""What is public changes on purpose."""

from __future__ import annotations

import importlib

import pytest

import tradewind
from tests.house.test_layers import HOUSE

PUBLIC = [
    "DatasetSpec",
    "Reference",
    "ServeSpec",
    "Spec",
    "TradewindError",
    "TrainSpec",
    "TuneSpec",
    "Workspace",
    "__version__",
]

PACKAGES = sorted(path.parent.name for path in HOUSE.glob("*/__init__.py"))


def test_public_names_are_these() -> None:
    assert sorted(tradewind.__all__) == PUBLIC


def test_every_public_name_resolves() -> None:
    assert [name for name in PUBLIC if getattr(tradewind, name, None) is None] == []


@pytest.mark.parametrize("name", PACKAGES)
def test_every_name_that_a_package_offers_is_there(name: str) -> None:
    package = importlib.import_module(f"tradewind.{name}")
    offered = getattr(package, "__all__", None)
    assert offered, f"tradewind.{name} has no __all__"
    assert [word for word in offered if not hasattr(package, word)] == []
    assert len(set(offered)) == len(offered)
