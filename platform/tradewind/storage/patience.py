"""How long a store is asked again: with full jitter, at most `TRIES` times, and no new try after `TRY_FOR_S` seconds.

A try itself ends when no answer and no more of it arrived for `STALLED_S`, so that the longest call that makes no
progress at all takes about `TRY_FOR_S + STALLED_S`. One request, which is one part of a large object, must be sent
within that time. Source of the jitter: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

TRIES = 8
TRY_FOR_S = 60.0
STALLED_S = 60.0
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0


class Patience:
    """The patience of one call with one store."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """After progress: all tries are there again."""
        self._tries = 1
        self._end = time.monotonic() + TRY_FOR_S

    def pause(self) -> bool:
        """Wait before the next try; False at once when there is none left."""
        seconds = random.uniform(0, min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** (self._tries - 1)))
        if self._tries >= TRIES or time.monotonic() + seconds > self._end:
            return False
        time.sleep(seconds)
        self._tries += 1
        return True


def with_patience(work: Callable[[], T], *, passes: Callable[[BaseException], bool]) -> T:
    """What `work()` gives, tried again while it fails for a reason that `passes`. Raises the last failure."""
    patience = Patience()
    while True:
        try:
            return work()
        except Exception as exc:
            if not passes(exc) or not patience.pause():
                raise
