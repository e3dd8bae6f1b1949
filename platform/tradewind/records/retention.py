"""The records of what happens to a dataset version after it was made: tags, removals, and the sweeps behind them."""

from __future__ import annotations

from typing import ClassVar, Literal

from tradewind.records.base import Record


class TagMove(Record):
    """From this moment `name@tag` means `name@version`. The newest move counts; the older ones are its history."""

    kind: ClassVar[str] = "tag"

    name: str
    tag: str
    version: int
    move: int
    writer: str

    @property
    def id(self) -> str:
        return f"{self.kind}:{self.name}@{self.tag}/{self.move}"


class Removal(Record):
    """A version is removed, or taken back. The newest change counts; a version without one is there."""

    kind: ClassVar[str] = "removal"

    name: str
    version: int
    status: Literal["removed", "restored"]
    change: int
    writer: str

    @property
    def id(self) -> str:
        return f"{self.kind}:{self.name}@{self.version}/{self.change}"


class Sweep(Record):
    """A step of a sweep, which deletes files that no version names. Who writes a version meanwhile waits for its end.

    `sweeper` is the same in all steps of one sweep.
    """

    kind: ClassVar[str] = "sweep"

    name: str
    sweeper: str
    status: Literal["going", "ended"]
    step: int
    writer: str

    @property
    def id(self) -> str:
        return f"{self.kind}:{self.name}/{self.step}"
