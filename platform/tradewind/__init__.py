"""tradewind: one AI platform on Ray, the same on every cloud.

`import tradewind as tw` is light: heavier parts load when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tradewind.errors import TradewindError
from tradewind.lazy import exports

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

__getattr__ = exports(
    __name__,
    {
        **dict.fromkeys(("DatasetSpec", "Reference", "ServeSpec", "Spec", "TrainSpec", "TuneSpec"), ".specs"),
        "Workspace": ".workspace",
    },
)
