"""The budget guard: what a sweep may still begin, and what has to leave, so that it ends within its dollars and hours.

Projected spend is what was spent, and what the running trials are expected to spend until they end. A new trial is
admitted only when its own estimate fits too. Estimates err, so there is a wall as well: when the money would no more
last until the next look and for leaving with a checkpoint, everybody leaves.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tradewind.errors import QuotaError, SpecError
from tradewind.units import format_seconds, format_usd

TOLERANCE = 0.02
"""Share of a budget by which a projection may pass it before running trials leave. Spending itself stays below it."""
HOUR_S = 3600.0


@dataclass(frozen=True)
class Going:
    """A trial at work."""

    number: int
    rest_usd: float
    """What it is expected to spend from now to its end."""
    usd_per_s: float
    """What it spends at most: of a spot machine, the price at the cap."""
    rest_s: float = 0.0


@dataclass(frozen=True)
class Estimate:
    """What one whole trial is expected to take."""

    usd: float
    seconds: float
    machine_s: float = 0.0
    """Seconds of all its machines together."""
    basis: str = "estimated"

    def times(self, factor: float) -> Estimate:
        return Estimate(self.usd * factor, self.seconds * factor, self.machine_s * factor, self.basis)


@dataclass(frozen=True)
class Admission:
    admitted: bool
    projected_usd: float
    """At the end, with the new trial."""
    left_usd: float | None
    """Without it; None without a limit."""
    reason: str

    @property
    def numbers(self) -> dict[str, float]:
        """What was gone by, for the records."""
        left = {} if self.left_usd is None else {"left_usd": self.left_usd}
        return {"projected_usd": self.projected_usd, **left}


@dataclass(frozen=True)
class BudgetGuard:
    """Decides on money and time. Raises SpecError for a limit that is none.

    Between two looks pass at most `look_s`, and a trial that is asked to leave has left after at most `leave_s`. As
    long as both hold, and no trial spends faster than it says, spending never passes the limit.
    """

    limit_usd: float | None = None
    limit_s: float | None = None
    """Of the time in which the sweep is driven: pauses between drivers do not count."""
    look_s: float = 1.0
    leave_s: float = 10.0

    def __post_init__(self) -> None:
        for limit, word in ((self.limit_usd, "dollars"), (self.limit_s, "seconds")):
            if limit is not None and not 0 < limit < float("inf"):
                raise SpecError(f"{limit:g} is not a budget in {word}", hint="use a number above 0, or none")

    def check_first(self, estimate: Estimate, *, spent_usd: float = 0.0, elapsed_s: float = 0.0) -> None:
        """Before anything starts. Raises QuotaError, with the estimate, when not even one trial fits."""
        left_usd, left_s = self.left_usd(spent_usd), self.left_s(elapsed_s)
        if left_usd is not None and self.limit_usd is not None and estimate.usd > left_usd:
            already = f" with {format_usd(spent_usd)} spent" if spent_usd else ""
            raise QuotaError(
                f"one trial would cost {format_usd(estimate.usd)} ({estimate.basis}), more than the budget of"
                f" {format_usd(self.limit_usd)} has left{already}",
                hint=f"raise it with --budget {spent_usd + estimate.usd:.2g} or more, let trials take fewer steps, or"
                " choose cheaper machines",
            )
        if left_s is not None and estimate.seconds > left_s:
            raise QuotaError(
                f"one trial would take {format_seconds(estimate.seconds)} ({estimate.basis}), and of the budget of"
                f" hours {format_seconds(left_s)} are left",
                hint="raise budget_hours, or let trials take fewer steps",
            )

    def admit(
        self, estimate: Estimate, usd_per_s: float, *, spent_usd: float, going: Sequence[Going], elapsed_s: float = 0.0
    ) -> Admission:
        """Whether a trial, or the rest of one that had left, may begin beside those that run."""
        projected = self.projected_usd(spent_usd, going) + estimate.usd
        left_usd, left_s = self.left_usd(spent_usd), self.left_s(elapsed_s)

        def answer(reason: str, *, admitted: bool = False) -> Admission:
            return Admission(admitted, projected, left_usd, reason)

        if self.limit_usd is not None and left_usd is not None:
            burn = usd_per_s + sum(one.usd_per_s for one in going)
            if projected > self.limit_usd:
                return answer(
                    f"with a trial of {format_usd(estimate.usd)} ({estimate.basis}) the sweep would come to"
                    f" {format_usd(projected)}, above its budget of {format_usd(self.limit_usd)}"
                )
            if burn * self._ahead_s > left_usd:
                return answer(f"{format_usd(left_usd)} are left, too little to begin and leave again")
        if left_s is not None and estimate.seconds > left_s:
            return answer(
                f"a trial takes {format_seconds(estimate.seconds)} ({estimate.basis}), and {format_seconds(left_s)} are"
                " left of the budget of hours"
            )
        return answer(f"projected {format_usd(projected)}", admitted=True)

    def leaving(self, *, spent_usd: float, going: Sequence[Going], elapsed_s: float = 0.0) -> tuple[int, ...]:
        """Numbers of the trials that have to leave now. `going` has the trials best first: the last leave first.

        Where the projection alone is too high, the first one stays, and goes on up to the wall.
        """
        if self.is_at_wall(spent_usd=spent_usd, going=going, elapsed_s=elapsed_s):
            return tuple(one.number for one in going)
        if self.limit_usd is None:
            return ()
        kept = list(going)
        while len(kept) > 1 and self.projected_usd(spent_usd, kept) > self.limit_usd * (1 + TOLERANCE):
            kept.pop()
        return tuple(one.number for one in going[len(kept) :])

    def is_at_wall(self, *, spent_usd: float, going: Iterable[Going], elapsed_s: float = 0.0) -> bool:
        """Whether what is left lasts no more than until the next look and for leaving."""
        left_usd, left_s = self.left_usd(spent_usd), self.left_s(elapsed_s)
        burn = sum(one.usd_per_s for one in going)
        return (left_usd is not None and burn * self._ahead_s > left_usd) or (
            left_s is not None and left_s < self._ahead_s
        )

    @staticmethod
    def projected_usd(spent_usd: float, going: Iterable[Going]) -> float:
        """What a sweep comes to when its running trials end, and no other begins."""
        return spent_usd + sum(one.rest_usd for one in going)

    def left_usd(self, spent_usd: float) -> float | None:
        return None if self.limit_usd is None else max(0.0, self.limit_usd - spent_usd)

    def left_s(self, elapsed_s: float) -> float | None:
        return None if self.limit_s is None else max(0.0, self.limit_s - elapsed_s)

    @property
    def _ahead_s(self) -> float:
        return self.look_s + self.leave_s


def corrected(estimate: Estimate, taken: Iterable[tuple[float, float]]) -> Estimate:
    """The estimate of a trial after others have ended: times what they took over what they were expected to take.

    `taken` has both for each trial that ran its whole length, in machine-seconds.
    """
    pairs = [(expected, took) for expected, took in taken if expected > 0]
    expected_s, took_s = sum(expected for expected, _ in pairs), sum(took for _, took in pairs)
    if not expected_s or not took_s:
        return estimate
    better = estimate.times(took_s / expected_s)
    return Estimate(better.usd, better.seconds, better.machine_s, basis=f"from {len(pairs)} trials")
