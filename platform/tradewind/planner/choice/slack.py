"""When to start within the slack: where the grid is cleanest over the run, as hourly figures say it."""

from __future__ import annotations

from datetime import timedelta
from functools import lru_cache

from tradewind.catalog import Offer
from tradewind.planner.choice.question import Question
from tradewind.planner.local_time import utc_offset
from tradewind.planner.starts import Signal, Start, best_start


def start_of(question: Question, offer: Offer, hours: float) -> Start | None:
    """The best start of a run of so many hours; None without hourly figures for its grid, which means at once."""
    signal = question.signals.get(f"{offer.region.cloud}/{offer.region.name}")
    if signal is None or hours > question.longest_h:
        return None
    return _best(signal, round(hours, 1), question)


@lru_cache(maxsize=4096)
def _best(signal: Signal, hours: float, question: Question) -> Start:
    slack_h = question.longest_h if question.limits.deadline_s else hours
    deadline = question.now + timedelta(hours=max(slack_h, hours))
    return best_start(signal, duration_h=hours, earliest=question.now, deadline=deadline)


def start_words(offer: Offer, start: Start) -> str:
    """`starts at 23:00 UTC, 0:00 local time: …`."""
    here = utc_offset(offer.region, start.at)
    local = f", {start.at + timedelta(hours=here.hours):%H:%M} there" if here else ""
    return f"starts {start.at:%Y-%m-%d %H:%M} UTC{local}: {start.reason}"
