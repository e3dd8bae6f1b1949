"""What autoscaling saw and decided, in the workspace: written as it happens, read again for a replay."""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from tradewind.errors import NotFoundError
from tradewind.records import ScalingDecision, ScalingSample, ScalingWindow
from tradewind.serving.autoscaling.limits import Limits
from tradewind.serving.autoscaling.signals import Decision, Signals
from tradewind.serving.autoscaling.ticks import TICK_S, sample_of
from tradewind.storage import RecordLog, Store

FOLDER = "scaling"
WINDOW_S = 60.0
QUIET_WINDOW_S = 600.0
"""A window in which nothing changed is written this often: an idle endpoint costs the store little."""


@dataclass
class Recorder:
    """Takes what a policy saw and decided, tick by tick, and writes it. Every call may wait for the store."""

    store: Store
    endpoint: str
    policy: str
    limits: Limits
    settings: dict[str, Any] = field(default_factory=dict)
    _samples: list[ScalingSample] = field(default_factory=list)
    _is_first: bool = True
    _last_window: int = 0
    _last_decision: int = 0

    def see(self, signals: Signals, decision: Decision) -> None:
        """A change of the target is written at once, what was seen when its window is over."""
        self._add(sample_of(signals, decision.target))
        if decision.target != signals.target:
            self._write_decision(signals, decision)
        age_s = (self._samples[-1].tick - self._samples[0].tick + self._samples[-1].ticks) * TICK_S
        if age_s >= (WINDOW_S if len(self._samples) > 1 else QUIET_WINDOW_S):
            self.flush()

    def flush(self) -> None:
        """Write what was seen since the last window."""
        samples, self._samples = self._samples, []
        if not samples:
            return
        record = windows_of(self.store, self.endpoint).append(
            lambda number, writer: ScalingWindow(
                endpoint=self.endpoint,
                number=number,
                writer=writer,
                policy=self.policy,
                limits=asdict(self.limits),
                settings=self.settings,
                tick_s=TICK_S,
                is_first=self._is_first,
                samples=tuple(samples),
                parents=(f"endpoint:{self.endpoint}",),
            ),
            after=self._last_window,
        )
        self._is_first, self._last_window = False, record.number

    def _add(self, sample: ScalingSample) -> None:
        before = self._samples[-1] if self._samples else None
        if before and _same(before, sample) and before.tick + before.ticks == sample.tick:
            self._samples[-1] = before.model_copy(update={"ticks": before.ticks + 1})
        else:
            self._samples.append(sample)

    def _write_decision(self, signals: Signals, decision: Decision) -> None:
        record = decisions_of(self.store, self.endpoint).append(
            lambda number, writer: ScalingDecision(
                endpoint=self.endpoint,
                number=number,
                writer=writer,
                at=datetime.fromtimestamp(signals.time_s, UTC),
                policy=self.policy,
                before=signals.target,
                target=decision.target,
                reason=decision.reason,
                inputs=dict(decision.inputs),
                parents=(f"endpoint:{self.endpoint}",),
            ),
            after=self._last_decision,
        )
        self._last_decision = record.number


def windows_of(store: Store, endpoint: str) -> RecordLog[ScalingWindow]:
    return RecordLog(store, f"{FOLDER}/{endpoint}/windows", ScalingWindow)


def decisions_of(store: Store, endpoint: str) -> RecordLog[ScalingDecision]:
    return RecordLog(store, f"{FOLDER}/{endpoint}/decisions", ScalingDecision)


def read_windows(
    store: Store, endpoint: str, *, since: datetime | None = None, until: datetime | None = None
) -> list[ScalingWindow]:
    """The windows that overlap a time, oldest first. Raises NotFoundError when nothing was recorded then.

    The first one is found by halving, so that a day of a long history is read without the rest.
    """
    log = windows_of(store, endpoint)
    numbers = log.numbers()
    begin = bisect.bisect_left(numbers, since, key=lambda number: ended_at(log.read(number))) if since else 0
    found = list(_until(log, numbers[begin:], until))
    if not found:
        raise NotFoundError(
            f"nothing is recorded of the scaling of endpoint {endpoint!r}{' at that time' if numbers else ''}",
            hint="an endpoint with `scaling` in its spec is recorded while it is up",
        )
    return found


def began_at(window: ScalingWindow) -> datetime:
    return datetime.fromtimestamp(window.samples[0].tick * window.tick_s, UTC)


def ended_at(window: ScalingWindow) -> datetime:
    last = window.samples[-1]
    return datetime.fromtimestamp((last.tick + last.ticks) * window.tick_s, UTC)


def _until(log: RecordLog[ScalingWindow], numbers: list[int], until: datetime | None) -> Iterator[ScalingWindow]:
    for number in numbers:
        window = log.read(number)
        if until and began_at(window) > until:
            return
        yield window


def _same(before: ScalingSample, now: ScalingSample) -> bool:
    return before.model_copy(update={"tick": now.tick, "ticks": 1}) == now
