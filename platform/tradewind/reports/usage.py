"""The ledger as rows: what each activity used, and the total.

Plain data for the page and the terminal alike. Several records of one activity on one subject become one row. The time
of nodes is no usage, and left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tradewind.records import Usage


@dataclass(frozen=True)
class UsageRow:
    """A row of the ledger table. Datasets and training see tokens; prompts and answers are served."""

    activity: str
    """`dataset`, `training`, `serving`, `transfer over <boundary>`; `total` in the last row."""
    subject: str
    requests: int
    tokens_seen: int
    tokens_served: int
    num_bytes: int
    """Moved between stores and machines, as far as it was metered."""
    tokens_per_s: float | None
    """While at work. None in the total, where a rate over different kinds of work means nothing, and without time."""
    seconds: float
    """Wall time for which machines were held."""
    used_share: float | None
    """Of the device time that was held, the part at work; None where none was held."""
    productive_share: float | None
    """The part whose work counts in the result."""
    energy_wh: float
    energy_basis: str
    usd: float


def usage_rows(usage: Iterable[Usage]) -> list[UsageRow]:
    """One row for each activity and subject, in the order they first appear, then the total."""
    records = [record for record in usage if record.activity != "cluster"]
    subjects: dict[tuple[str, str], list[Usage]] = {}
    for record in records:
        subjects.setdefault((_activity(record), record.subject), []).append(record)
    rows = [_row(activity, subject, group) for (activity, subject), group in subjects.items()]
    return [*rows, _row("total", "", records)]


def _activity(record: Usage) -> str:
    """Transfers are told apart by what they crossed, which is what their price depends on."""
    return f"{record.activity} over {record.boundary}" if record.boundary else record.activity


def _row(activity: str, subject: str, records: Sequence[Usage]) -> UsageRow:
    served = sum(record.tokens_in + record.tokens_out for record in records if record.activity == "serving")
    tokens = sum(record.tokens_in + record.tokens_out for record in records)
    at_work_s = sum(record.used_s / record.devices for record in records if record.devices)
    allocated_s = sum(record.allocated_s for record in records)
    bases = {record.energy_basis for record in records}
    return UsageRow(
        activity=activity,
        subject=subject,
        requests=sum(record.requests for record in records),
        tokens_seen=tokens - served,
        tokens_served=served,
        num_bytes=sum(record.num_bytes for record in records),
        tokens_per_s=tokens / at_work_s if subject and at_work_s > 0 else None,
        seconds=sum(record.seconds for record in records),
        used_share=sum(record.used_s for record in records) / allocated_s if allocated_s else None,
        productive_share=sum(record.productive_s for record in records) / allocated_s if allocated_s else None,
        energy_wh=sum(record.energy_wh for record in records),
        energy_basis=bases.pop() if len(bases) == 1 else "estimated",
        usd=sum(record.usd for record in records),
    )
