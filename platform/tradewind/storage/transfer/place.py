"""Where this machine is, and where a store is as far as its URL and the environment say it."""

from __future__ import annotations

import os
from functools import cache

from tradewind.errors import SpecError
from tradewind.records import LOCAL, UNKNOWN, Place
from tradewind.storage import s3
from tradewind.storage.store import Store

VARIABLE = "TRADEWIND_PLACE"


def this_place() -> Place:
    """`$TRADEWIND_PLACE`, like `aws/us-east-1/us-east-1a`, or the unknown place. Raises SpecError."""
    return _parse(os.environ.get(VARIABLE, ""))


def place_of(store: Store) -> Place:
    """A folder is local. Amazon's own S3 is in the region of the environment. Any other store is not known."""
    scheme = store.url.partition(":")[0]
    if scheme in ("file", "memory"):
        return LOCAL
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    return Place.parse(f"aws/{region}") if scheme == "s3" and region and not s3.other_host() else UNKNOWN


@cache
def _parse(text: str) -> Place:
    try:
        return Place.parse(text)
    except SpecError as exc:
        raise SpecError(f"{VARIABLE}: {exc.message}", hint=exc.hint) from exc
