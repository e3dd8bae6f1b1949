"""One Ray cluster whose machines come from several clouds and from own hosts, the cheapest first.

Ray's `type: external` names `tradewind.clusters.hybrid.HybridNodeProvider`; Ray is imported when that name is asked
for, and not before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tradewind.clusters.hybrid.provider import HybridNodeProvider

__all__ = ["HybridNodeProvider"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from tradewind.clusters.hybrid import provider

    return provider.HybridNodeProvider
