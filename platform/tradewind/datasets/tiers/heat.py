"""How much a dataset version is read, from what is recorded already: no access is counted anywhere for this.

A record that names the version among its parents, or as its subject, is one access at the time it was made: a run, a
model, a version made from it, a row of the ledger. What leaves no record, such as a copy by hand, is not seen.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from tradewind.errors import SpecError
from tradewind.records import Record, Usage
from tradewind.specs import Reference

DAY = timedelta(days=1)
DAYS_PER_MONTH = 365 / 12

HALF_LIFE_DAYS = 18.0
"""After so long an access counts half. Shorter ones move away what comes in bursts 40 days apart, longer ones pay for
what is dying: of 7 to 30 days, 16 to 20 cost least on the traces of `tests/datasets/traces.py`."""


def accesses(version: str, records: Iterable[Record]) -> list[datetime]:
    """When a version, named by its id, was accessed; oldest first."""
    return sorted(record.created_at for record in records if version in record.parents or _is_about(record, version))


def heat(times: Sequence[datetime], at: datetime, *, half_life_days: float = HALF_LIFE_DAYS) -> float:
    """Accesses a day, as an exponentially weighted moving average. An access after `at` counts as one at `at`.

    Each access adds ln 2 / half-life, and loses half of that with each half-life: for accesses at an even rate, the sum
    tends to that rate.
    """
    ages = (max(0.0, (at - time) / DAY) for time in times)
    return math.log(2) / half_life_days * math.fsum(2.0 ** (-age / half_life_days) for age in ages)


@dataclass(frozen=True)
class Use:
    """A run, and which dataset it reads. `is_live` when it has no end and its process is not known to be gone."""

    run: str
    dataset: str
    parents: tuple[str, ...]
    host: str
    started_at: datetime
    ended_at: datetime | None
    is_live: bool

    def reads(self, name: str, version: int) -> bool:
        """Whether it reads this version, or may: a name without a version may mean any, as one that cannot be read."""
        if f"dataset:{name}@{version}" in self.parents:
            return True
        try:
            reference = Reference.parse(self.dataset)
        except SpecError:
            return True
        return reference.name == name and reference.version in (None, version)

    def seen_at(self) -> datetime:
        """When it was last known to read."""
        return max(self.started_at, self.ended_at or self.started_at)


def _is_about(record: Record, version: str) -> bool:
    return isinstance(record, Usage) and record.subject == version
