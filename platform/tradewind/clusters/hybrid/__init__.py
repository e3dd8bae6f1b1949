"""One Ray cluster whose machines come from several clouds and from own hosts, the cheapest first.

Ray's `type: external` names `tradewind.clusters.hybrid.HybridNodeProvider`; Ray is imported when that name is asked
for, and not before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tradewind.lazy import exports

if TYPE_CHECKING:
    from tradewind.clusters.hybrid.provider import HybridNodeProvider

__all__ = ["HybridNodeProvider"]

__getattr__ = exports(__name__, {"HybridNodeProvider": ".provider"})
