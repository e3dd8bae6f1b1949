"""`TRADEWIND_SINGLE_WRITER=1`: a person's word that one process at a time writes to a store.

It opens stores that cannot refuse a second writer. There, a create looks first and then writes.
"""

from __future__ import annotations

import os

from tradewind.errors import SpecError

VARIABLE = "TRADEWIND_SINGLE_WRITER"


def is_single_writer() -> bool:
    """Raises SpecError for a value other than 0 and 1."""
    value = os.environ.get(VARIABLE, "")
    if value not in ("", "0", "1"):
        raise SpecError(f"{VARIABLE} is {value!r}", hint="set it to 1, or not at all")
    return value == "1"


def needs_one_writer(url: str) -> SpecError:
    """What several writers are told by a store that cannot refuse to create what exists."""
    return SpecError(
        f"{url} lets several writers create the same object, and all but the last would lose their records",
        hint=f"use a store with conditional writes; or set {VARIABLE}=1 if only one process at a time writes here",
    )
