"""Requests to the stand-in for Google Cloud Storage and its answers, the same for both of its APIs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from tradewind.testing.gcs_buckets import Refusal


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    """As it was sent, with its percent signs: they tell a `/` in a name from one between names."""

    query: dict[str, str]
    headers: Mapping[str, str]
    """With names in lower case."""

    body: bytes
    endpoint: str


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


def ranged(data: bytes, wanted: str | None, headers: dict[str, str]) -> Answer:
    """The bytes of a `Range` header, or all of them."""
    found = re.fullmatch(r"bytes=(\d*)-(\d*)", wanted or "")
    if not found or not (found[1] or found[2]):
        return Answer(200, {**headers, "Accept-Ranges": "bytes"}, data)
    start = int(found[1]) if found[1] else max(0, len(data) - int(found[2]))
    end = min(int(found[2]) + 1, len(data)) if found[1] and found[2] else len(data)
    if start >= len(data) or start >= end:
        raise Refusal(416, "InvalidRange", "The requested range cannot be satisfied.")
    return Answer(206, {**headers, "Content-Range": f"bytes {start}-{end - 1}/{len(data)}"}, data[start:end])
