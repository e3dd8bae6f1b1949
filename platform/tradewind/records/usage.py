"""The record of the ledger: what was used, by whom, for what, where, and what it cost at that moment.

Three times tell how well a machine is used. All are in device-seconds, the seconds of each device added up:

- `allocated_s`: held, so that nobody else could use it;
- `used_s`: at work, steps that had to be made again included. Of `allocated_s`, the rest is start-up and waiting;
- `productive_s`: work that counts in the result. Of `used_s`, the rest is work that was lost, and evaluation.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import ClassVar, Literal

from tradewind.records.base import Record, StoredFile
from tradewind.records.place import Boundary

Activity = Literal["dataset", "training", "tuning", "serving", "transfer", "cluster"]
"""`cluster` is the time of a node, which the others are held against; it is in no sum of usage."""


class Usage(Record):
    kind: ClassVar[str] = "usage"

    usage_id: str
    activity: Activity
    subject: str
    """Id of the record that the work made or served: `dataset:…`, `run:…`, `endpoint:…`; of a node, `node:…`."""
    team: str = ""
    """Whose work it was; empty where nobody said."""
    run: str = ""
    model: str = ""
    """`name@version` of the model that was served."""
    endpoint: str = ""
    dataset: str = ""
    """`name@version` of what was made or read; of a mixture all of them, joined by `+`."""
    machine: str
    """Name of the host."""
    cloud: str = ""
    region: str = ""
    device: str = "cpu"
    """The chip; a machine without accelerators is one device, `cpu`."""
    devices: int = 1
    """How many of them the work held."""
    requests: int = 0
    tokens_in: int = 0
    """Tokens read: prompts for serving, training tokens for training."""
    tokens_out: int = 0
    """Tokens made: completions for serving, tokens written for a dataset."""
    num_bytes: int = 0
    """Bytes that a transfer moved between a store and this machine."""
    boundary: Boundary | None = None
    """What they crossed."""
    store: str | None = None
    """URL of the store that gave or took them."""
    began_at: datetime | None = None
    """When the time of this row began; it ends `seconds` later."""
    seconds: float
    """Wall time for which the devices were held."""
    allocated_s: float = 0.0
    used_s: float = 0.0
    productive_s: float = 0.0
    cpu_seconds: float
    energy_wh: float
    energy_basis: str = "estimated"
    usd: float
    """`allocated_s` at the price of that moment; of a transfer, its bytes. A later price changes nothing."""
    usd_per_hour: float = 0.0
    """The price of all its devices together for an hour; 0 where nobody gave one."""
    price_as_of: date | None = None
    """The day on which that price, or that of the bytes, was looked up; None where nobody knows."""

    @property
    def id(self) -> str:
        return f"{self.kind}:{self.usage_id}"


class Compaction(Record):
    """That the rows of many files of one day stand together in one: who reads this one leaves those out."""

    kind: ClassVar[str] = "compaction"

    number: int
    writer: str
    day: date
    file: StoredFile
    num_rows: int
    sources: tuple[str, ...]
    """Names of the files whose rows it holds, sorted; they are deleted some days later."""

    @property
    def id(self) -> str:
        return f"{self.kind}:{self.day}/{self.number}"
