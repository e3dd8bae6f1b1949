"""Where a machine or a store is, and what bytes cross on their way from one place to another.

A place is written `cloud/region/zone`, and may end early: a bucket is in a region, not in a zone. `local` is the disk
of whoever reads. Nothing is guessed: a place that is not known stays unknown.
"""

from __future__ import annotations

import re
from typing import Literal, Self

from pydantic import field_validator

from tradewind.errors import SpecError
from tradewind.records.base import Fact

Boundary = Literal["none", "zone", "region", "cloud", "internet", "unknown"]
"""The largest thing that both ends share, after `none` for a folder: `zone` within one, `region` between the zones of
one, `cloud` between its regions, `internet` between clouds."""

_PART = re.compile(r"[a-z0-9][a-z0-9-]*")


class Place(Fact):
    cloud: str = ""
    region: str = ""
    zone: str = ""

    @field_validator("cloud", "region", "zone")
    @classmethod
    def _is_a_word(cls, value: str) -> str:
        if value and not _PART.fullmatch(value):
            raise ValueError(f"{value!r} is not a name of a place; write it like us-east-1")
        return value

    @classmethod
    def parse(cls, text: str) -> Self:
        """A place from `cloud[/region[/zone]]`, or the unknown one from nothing. Raises SpecError."""
        parts = text.split("/") if text else []
        if len(parts) > 3 or not all(_PART.fullmatch(part) for part in parts):
            raise SpecError(f"{text!r} is not a place", hint="write cloud/region/zone, like aws/us-east-1/us-east-1a")
        return cls(**dict(zip(("cloud", "region", "zone"), parts, strict=False)))

    def __str__(self) -> str:
        return "/".join(part for part in (self.cloud, self.region, self.zone) if part) or "unknown"


UNKNOWN = Place()
LOCAL = Place(cloud="local")


def boundary(source: Place, target: Place) -> Boundary:
    """What bytes cross from one place to the other."""
    if LOCAL in (source, target):
        return "none"
    if not source.cloud or not target.cloud:
        return "unknown"
    if source.cloud != target.cloud:
        return "internet"
    if not source.region or not target.region:
        return "unknown"
    if source.region != target.region:
        return "cloud"
    return "zone" if source.zone and source.zone == target.zone else "region"
