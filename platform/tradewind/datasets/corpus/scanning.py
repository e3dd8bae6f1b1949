"""The first pass over a group of input: how much there is, and a digest of each document."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

from tradewind.datasets.corpus.deduplication import fingerprint
from tradewind.datasets.corpus.documents import Content, Document, read_documents
from tradewind.datasets.corpus.groups import Group
from tradewind.datasets.corpus.prefetch import open_ahead
from tradewind.datasets.corpus.scratch import Scratch
from tradewind.records.base import Fact

Advance = Callable[[int], None]
"""Called with the bytes of text that were dealt with."""


class Scan(Fact):
    """What a group holds, up to a limit. `check` is a hash of all digests, `lowest` and `highest` two of them."""

    documents: int
    text_bytes: int
    check: str
    lowest: str = ""
    highest: str = ""
    too_long: int | None = None
    """Bytes of the first document that did not fit under the limit."""

    tokens: ClassVar[int] = 0


@dataclass(frozen=True)
class Scanning:
    """Scans groups. `limit` is the most text, in bytes, that is wanted of one."""

    scratch: Scratch
    content: Content
    limit: int | None

    folder: ClassVar[str] = "scans"

    def __call__(self, group: Group, advance: Advance) -> Scan:
        digests: list[bytes] = []
        used, too_long = 0, None
        for document in group_documents(group, content=self.content):
            if self.limit is not None and used + document.num_bytes > self.limit:
                too_long = document.num_bytes
                break
            used += document.num_bytes
            digests.append(document.digest)
            advance(document.num_bytes)
        scan = Scan(
            documents=len(digests),
            text_bytes=used,
            check=check_of(digests),
            lowest=min(digests, default=b"").hex(),
            highest=max(digests, default=b"").hex(),
            too_long=too_long,
        )
        self.scratch.write(self.digests_file(group), fingerprint(digests))
        self.scratch.finish(self.record_file(group), scan.model_dump_json().encode())
        return scan

    def record_file(self, group: Group) -> str:
        return f"{self.folder}/{self._name(group)}.json"

    def digests_file(self, group: Group) -> str:
        return f"{self.folder}/{self._name(group)}.digests"

    def _name(self, group: Group) -> str:
        return f"{group.number:06d}" if self.limit is None else f"{group.number:06d}-{self.limit}"


def group_documents(group: Group, *, content: Content) -> Iterator[Document]:
    """The documents of a group in their order."""
    for part, opened in open_ahead(group.parts):
        yield from read_documents(part, content=content, opened=opened)


def check_of(digests: list[bytes]) -> str:
    """Equal for equal documents in the same order."""
    return hashlib.sha256(b"".join(digests)).hexdigest()
