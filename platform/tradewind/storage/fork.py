"""Processes that were forked after their parent had used a store are refused, at once and clearly.

obstore's threads, and those of fsspec, do not come along with a fork: in the child any call hangs, and even closing its
connections there takes them from the parent.
"""

from __future__ import annotations

import os

from tradewind.errors import SpecError

_first_user: int | None = None
"""The process that started the threads."""


def refuse_forked_child(url: str) -> None:
    global _first_user
    _first_user = _first_user or os.getpid()
    if _first_user != os.getpid():
        raise SpecError(
            f"{url} cannot be used in a forked process", hint="start processes with 'spawn' or 'forkserver'"
        )
