"""Candidates that are left alone for a while: of one backend, in one place, of one machine type, on one market."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tradewind.records import Outcome

LONGER: dict[Outcome, float] = {
    "sold_out": 1.0,
    "fewer": 1.0,
    "in_use": 0.0,
    "no_answer": 0.5,
    "lost": 1.0,
    "over_quota": 10.0,
    "misfit": 10.0,
    "refused": 5.0,
}
"""Times the cool-down of a cluster. Quotas and mistakes need a person, so they are asked again seldom."""

WHOLE_BACKEND: frozenset[Outcome] = frozenset({"refused"})
"""Bad credentials are bad for every machine of a backend."""

Scope = tuple[str, ...]
"""Backend, place, machine type, market; or the backend alone."""


@dataclass(frozen=True)
class Rest:
    until: float
    """Seconds of `Cooldowns.clock`."""
    outcome: Outcome
    reason: str


@dataclass
class Cooldowns:
    cooldown_s: float
    clock: Callable[[], float] = time.monotonic
    _rests: dict[Scope, Rest] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self, scope: Scope, outcome: Outcome, reason: str) -> float:
        """Leave a candidate alone, or its whole backend. Gives the seconds that this lasts."""
        seconds = self.cooldown_s * LONGER.get(outcome, 0.0)
        with self._lock:
            self._rests[scope[:1] if outcome in WHOLE_BACKEND else scope] = Rest(
                self.clock() + seconds, outcome, reason
            )
        return seconds

    def rest(self, scope: Scope) -> Rest | None:
        """Why and until when this candidate is left alone, or None."""
        now = self.clock()
        with self._lock:
            self._rests = {key: rest for key, rest in self._rests.items() if rest.until > now}
            return self._rests.get(scope[:1]) or self._rests.get(scope)

    def end(self, scope: Scope) -> None:
        """A launch went well: what was believed of this candidate is over."""
        with self._lock:
            self._rests.pop(scope, None)
            self._rests.pop(scope[:1], None)
