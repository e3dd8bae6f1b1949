"""One decoder over many ranks: where each weight and each token lies, and who speaks with whom."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tradewind.lazy import exports

if TYPE_CHECKING:
    from tradewind.training.parallel.distributed import DistributedDecoder
    from tradewind.training.parallel.layout import Layout
    from tradewind.training.parallel.mesh import Mesh
    from tradewind.training.parallel.sharding import Precision

__all__ = ["DistributedDecoder", "Layout", "Mesh", "Precision"]

__getattr__ = exports(
    __name__, {"DistributedDecoder": ".distributed", "Layout": ".layout", "Mesh": ".mesh", "Precision": ".sharding"}
)
