"""The chain dataset → run → checkpoint → model → endpoint of a story, as plain data.

It knows what to show of each record, not how to draw it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from tradewind.records import Record
from tradewind.reports.story import Story
from tradewind.units import format_count


@dataclass(frozen=True)
class Link:
    """One record of the chain. `id` and `created_at` are None where there is no such record yet."""

    kind: str
    id: str | None
    created_at: datetime | None
    note: str


def lineage_of(story: Story) -> tuple[Link, ...]:
    """The five links of the chain, oldest first."""
    checkpoint, model, endpoint = story.source, story.model, story.endpoint
    return (
        _link("dataset", story.dataset, f"{format_count(story.dataset.tokens)} tokens"),
        _link("run", story.start, story.status),
        _link("checkpoint", checkpoint, f"step {checkpoint.step}" if checkpoint else "none yet"),
        _link("model", model, ", ".join(f"@{alias}" for alias in story.aliases) if model else "not registered"),
        _link("endpoint", endpoint, f"{endpoint.status}, engine {endpoint.engine}" if endpoint else "not served"),
    )


def _link(kind: str, record: Record | None, note: str) -> Link:
    return Link(kind, record.id if record else None, record.created_at if record else None, note)
