"""Which documents are kept: all up to `max_bytes`, without those that came before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tradewind.datasets.corpus.deduplication import Rows, find_duplicates
from tradewind.datasets.corpus.documents import Content
from tradewind.datasets.corpus.encoding import Wanted
from tradewind.datasets.corpus.groups import Group
from tradewind.datasets.corpus.scanning import Scan, Scanning
from tradewind.datasets.corpus.scratch import Scratch
from tradewind.datasets.corpus.stage import Pace, Stage, track
from tradewind.errors import NotFoundError, SpecError
from tradewind.specs import ChatSpec, TextSpec
from tradewind.units import format_bytes

Wish = TextSpec | ChatSpec


def select(stage: Stage, spec: Wish, content: Content, groups: Sequence[Group]) -> list[Wanted]:
    """What is kept of each group that has text. Raises NotFoundError or SpecError when nothing is."""
    with track("read", groups) as pace:
        found = list(_scan(stage, spec, content, groups, pace))
    scanned = [one for one in _cut(stage.scratch, spec, content, found) if one.scan.documents]
    if not scanned:
        raise _no_text(spec, found)
    dropped = _duplicates(stage.scratch, spec, scanned)
    return [Wanted(one.group, one.scan, rows.tobytes()) for one, rows in zip(scanned, dropped, strict=True)]


@dataclass(frozen=True)
class _Scanned:
    group: Group
    scan: Scan
    digests: str


def _scan(stage: Stage, spec: Wish, content: Content, groups: Sequence[Group], pace: Pace) -> Iterator[_Scanned]:
    """Groups and what they hold, until `max_bytes` is reached."""
    scanning = Scanning(stage.scratch, content, spec.max_bytes)
    used = 0
    for wave in _waves(groups, spec.max_bytes):
        scans = stage.finish(scanning, wave, Scan, pace)
        for group, scan in zip(wave, scans, strict=True):
            yield _Scanned(group, scan, scanning.digests_file(group))
            used += scan.text_bytes
        if spec.max_bytes and (used >= spec.max_bytes or any(scan.too_long is not None for scan in scans)):
            return


def _waves(groups: Sequence[Group], limit: int | None) -> Iterator[Sequence[Group]]:
    """All groups at once, or as many as are likely to reach the limit, again and again."""
    start, size = 0, 0
    for end, group in enumerate(groups, 1):
        size += group.num_bytes
        if limit is not None and size >= limit:
            yield groups[start:end]
            start, size = end, 0
    if start < len(groups):
        yield groups[start:]


def _cut(scratch: Scratch, spec: Wish, content: Content, found: Sequence[_Scanned]) -> Iterator[_Scanned]:
    """The groups before `max_bytes`, and what fits of the one that passes it."""
    left = spec.max_bytes
    for one in found:
        if left is not None and (one.scan.too_long is not None or one.scan.text_bytes > left):
            scanning = Scanning(scratch, content, left)
            yield _Scanned(one.group, scanning(one.group, lambda _: None), scanning.digests_file(one.group))
            return
        yield one
        left = None if left is None else left - one.scan.text_bytes


def _duplicates(scratch: Scratch, spec: Wish, scanned: Sequence[_Scanned]) -> list[Rows]:
    if spec.deduplicate == "none":
        return [np.empty(0, dtype="<u4") for _ in scanned]
    return find_duplicates(scratch, [one.digests for one in scanned])


def _no_text(spec: Wish, found: Sequence[_Scanned]) -> NotFoundError | SpecError:
    first = next((one.scan.too_long for one in found if one.scan.too_long is not None), None)
    if first is None:
        return NotFoundError(f"no text in {', '.join(spec.files)}", hint="all documents there are empty")
    limit = format_bytes(spec.max_bytes or 0)
    message = f"max_bytes of {limit} leaves no document, the first has {format_bytes(first)}"
    return SpecError(message, hint=f"raise {'chat' if isinstance(spec, ChatSpec) else 'text'}.max_bytes")
