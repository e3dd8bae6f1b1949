"""Notices that a run hangs: a step that has not ended long after any step should have.

A rank that is gone is noticed by others: Ray sees its process, and gloo its connection. What nobody sees is a rank that
lives and waits: for a partner that went another way, for a network that swallows packets, for a disk. The loop calls
`beat` after each step and wherever else it has come on; nothing happens to a program that never does.
"""

from __future__ import annotations

import contextlib
import logging
import statistics
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator

from tradewind.errors import TradewindError
from tradewind.training.recovery import HangError

LEAST_S = 600.0
TIMES_MEDIAN = 20.0
LOOK_EVERY_S = 1.0
_log = logging.getLogger(__name__)
_current: Watchdog | None = None


def beat(*, step: bool = True) -> None:
    """Say that training goes on; with `step` that one was made, whose time counts for what is usual."""
    if _current:
        _current.beat(step=step)


@contextlib.contextmanager
def watching(tell: Callable[[TradewindError], None]) -> Iterator[None]:
    """Watch this process's training. `tell` gets a HangError, once, in a thread of the watchdog's own."""
    global _current
    _current = watchdog = Watchdog(tell)
    thread = threading.Thread(target=watchdog.watch, name="tradewind-watchdog", daemon=True)
    thread.start()
    try:
        yield
    finally:
        _current = None
        watchdog.ended.set()


class Watchdog:
    """`now` gives seconds that only grow."""

    def __init__(self, tell: Callable[[TradewindError], None], *, now: Callable[[], float] = time.monotonic) -> None:
        self._tell = tell
        self._now = now
        self._steps: deque[float] = deque(maxlen=100)
        self._step_began: float | None = None
        self._beat_at: float | None = None
        self.ended = threading.Event()

    def beat(self, *, step: bool) -> None:
        moment = self._now()
        if step:
            if self._step_began is not None:
                self._steps.append(moment - self._step_began)
            self._step_began = moment
        self._beat_at = moment

    def limit_s(self) -> float:
        """How long nothing may be heard: 10 minutes, or 20 times the usual step where that is more."""
        return max(LEAST_S, TIMES_MEDIAN * statistics.median(self._steps)) if self._steps else LEAST_S

    def hang(self) -> HangError | None:
        """What to say, if training hangs now. Before the first beat nothing is known."""
        silent_s = 0.0 if self._beat_at is None else self._now() - self._beat_at
        if silent_s <= self.limit_s():
            return None
        usual = f", and a step takes {statistics.median(self._steps):.3g} s" if self._steps else ""
        return HangError(
            f"nothing has happened for {silent_s:.0f} s{usual}",
            hint="`tw runs logs` shows where each rank stood: look for the one that stands elsewhere",
        )

    def watch(self) -> None:
        while not self.ended.wait(LOOK_EVERY_S):
            if error := self.hang():
                _log.error("%s\n%s", error.message, stacks())
                self._tell(error)
                return


def stacks() -> str:
    """Where each thread of this process stands."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    frames = sys._current_frames()
    return "\n".join(
        f"thread {names.get(ident, ident)}:\n{''.join(traceback.format_stack(frame))}"
        for ident, frame in frames.items()
    )
