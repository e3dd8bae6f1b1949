"""tradewind: one AI platform on Ray, the same on every cloud.

`import tradewind as tw` is light: heavier parts load when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tradewind.errors import TradewindError

if TYPE_CHECKING:
    from tradewind.specs import DatasetSpec, Reference, ServeSpec, Spec, TrainSpec, TuneSpec
    from tradewind.workspace import Workspace

__all__ = [
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

__version__ = "0.1.0"

_HOMES = {
    **dict.fromkeys(("DatasetSpec", "Reference", "ServeSpec", "Spec", "TrainSpec", "TuneSpec"), "tradewind.specs"),
    "Workspace": "tradewind.workspace",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'tradewind' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
