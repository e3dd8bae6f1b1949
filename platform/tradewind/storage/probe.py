"""Whether a store keeps the one promise that everything here rests on: of racing creators exactly one wins.

Some servers and file systems take the condition and ignore it, without a word. Then two writers would replace each
other's records. So a store is asked, once per process: an object that exists is created again, which must be refused.
Where the object exists already, which is always after the first time, that is one request.
"""

from __future__ import annotations

from tradewind.errors import ConflictError
from tradewind.storage.single_writer import is_single_writer, needs_one_writer
from tradewind.storage.store import Store

KEY = ".tradewind/probe"
DATA = b"tradewind asks here whether this store refuses to create what exists\n"
KNOWN = ("file:", "memory:")

_exclusive: set[str] = set()
"""URLs of the stores that passed."""


def require_exclusive_create(store: Store) -> None:
    """Raises SpecError for a store that lets several creators win, unless one writer was declared."""
    if store.url.startswith(KNOWN) or store.url in _exclusive or is_single_writer():
        return
    if not (_is_refused(store) or _is_refused(store)):
        raise needs_one_writer(store.url)
    _exclusive.add(store.url)


def _is_refused(store: Store) -> bool:
    try:
        store.create(KEY, DATA)
    except ConflictError:
        return True
    return False
