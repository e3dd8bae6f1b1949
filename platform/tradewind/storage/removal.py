"""Removing many objects: several at once, because a store takes as long for one as for all that are asked together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from tradewind.storage.store import Store

AT_ONCE = 16


def delete_all(store: Store, keys: Sequence[str], *, only_if: Callable[[str], bool] | None = None) -> set[str]:
    """Remove objects, and return the keys of those removed. `only_if` is asked right before each, by many threads."""

    def delete(key: str) -> bool:
        if only_if and not only_if(key):
            return False
        store.delete(key)
        return True

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return {key for key, is_gone in zip(keys, pool.map(delete, keys), strict=True) if is_gone}
