"""The records of copies of datasets, and of what may be spent on reading them."""

from __future__ import annotations

from typing import ClassVar, Literal

from tradewind.records.base import Record
from tradewind.records.place import Place


class DatasetCopy(Record):
    """From this moment the store at `url` holds these versions of a dataset, under the same keys as its home.

    The newest record of a URL counts. A copy that is `dropped` is not read any more.
    """

    kind: ClassVar[str] = "copy"

    name: str
    url: str
    place: Place
    versions: tuple[int, ...]
    state: Literal["present", "dropped"] = "present"
    change: int
    writer: str

    @property
    def id(self) -> str:
        return f"{self.kind}:{self.name}/{self.change}"


class EgressChange(Record):
    """A step of an account: each record holds the whole account as it is after it, in billionths of a dollar.

    `reserved_nusd` is everything ever taken, less what was given back. `by_nusd` is what this record took or gave back.
    """

    kind: ClassVar[str] = "egress"

    change: int
    writer: str
    limit_nusd: int
    reserved_nusd: int
    by_nusd: int = 0
    machine: str = ""

    @property
    def id(self) -> str:
        return f"{self.kind}:{self.change}"
