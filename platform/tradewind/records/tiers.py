"""The record of what was done to the storage classes of a dataset's objects."""

from __future__ import annotations

from typing import ClassVar, Literal

from tradewind.records.base import Fact, Record
from tradewind.records.machine import ProcessName


class TierMove(Fact):
    """Objects of one split of one version that went from a tier to another."""

    version: int
    split: str
    before: str
    after: str
    num_objects: int
    num_bytes: int


class TierChange(Record):
    """A step of one application of a policy: it has begun, or it has ended and `moves` is what was done.

    `mover` is the same in the steps of one application. `process` applies it.
    """

    kind: ClassVar[str] = "tier change"

    name: str
    change: int
    writer: str
    mover: str
    status: Literal["going", "ended", "failed"]
    cloud: str
    policy: str
    process: ProcessName
    moves: tuple[TierMove, ...] = ()
    held_back: int = 0
    """Objects that were to be moved and were not, because a run had begun to use them."""
    message: str = ""

    @property
    def id(self) -> str:
        return f"{self.kind}:{self.name}/{self.change}"
