"""What a key is."""

from __future__ import annotations

from tradewind.errors import SpecError


def check_key(key: str) -> None:
    """Raises SpecError for a key that would lead out of its store."""
    if key.startswith("/") or not {".", ".."}.isdisjoint(key.split("/")):
        raise SpecError(f"{key!r} is not a key", hint="a key starts with no '/' and has no '.' or '..' as a folder")
