"""A cloud's deadline by this machine's clock, which may be wrong when the notice comes."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def deadline_unix_s(stated_unix_s: float, *, warning_s: float) -> float:
    """Unix seconds here of a moment that the cloud states. `warning_s` is the longest warning that it gives.

    A moment further off than that, ahead or behind, says that this clock is wrong: then the whole warning is reckoned
    from now.
    """
    now = time.time()
    ahead_s = stated_unix_s - now
    return now + (ahead_s if abs(ahead_s) <= warning_s else warning_s)


def parse_time(text: str) -> float:
    """Unix seconds of `2026-09-18T08:22:00Z` or of `Mon, 19 Sep 2026 18:29:47 GMT`. Raises ValueError."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = parsedate_to_datetime(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
