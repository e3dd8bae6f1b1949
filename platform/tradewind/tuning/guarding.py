"""The guards of a sweep at work: what one trial costs, whether another may begin, who has to leave."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from tradewind.records import SweepGuarded
from tradewind.tuning.budget import BudgetGuard, Estimate, Going, corrected
from tradewind.tuning.prices import Choice

LOOK_AT_PRICES_EVERY_S = 60.0
BUDGET_USED_UP = "the budget is used up"


@dataclass
class Guarding:
    """`share` is the part of a machine that one worker of a trial takes; `prices` says what a machine costs now."""

    budget: BudgetGuard
    estimate: Estimate
    prices: Callable[[], Choice]
    share: float = 1.0
    driven_s: float = 0.0
    """How long earlier drivers of the sweep were at work: hours of the budget count no pause."""
    PRICE: ClassVar[str] = "the price is too high"
    refusal: SweepGuarded | None = None
    """Why the last trial that wanted to begin may not."""

    _began: float = field(default_factory=time.monotonic)
    _looked: float = 0.0
    _choice: Choice | None = None
    _taken: list[tuple[float, float]] = field(default_factory=list)
    _said: dict[str, str] = field(default_factory=dict)

    @property
    def choice(self) -> Choice:
        if self._choice is None:
            self._choice, self._looked = self.prices(), time.monotonic()
        return self._choice

    @property
    def usd_per_machine_s(self) -> float:
        """Dollars for a second of one worker of a trial."""
        return self.choice.usd_per_hour * self.share / 3600

    @property
    def is_paused(self) -> bool:
        return not self.choice.works

    def look(self) -> None:
        """Ask for prices anew where they are old."""
        if time.monotonic() - self._looked >= LOOK_AT_PRICES_EVERY_S:
            self._choice = None

    def learn(self, machine_s: float, share: float) -> None:
        """What a trial took that went through some share of its steps: the next estimates go by it."""
        if share > 0 and machine_s > 0:
            self._taken.append((self.estimate.machine_s * share, machine_s))

    def admit(self, going: Sequence[tuple[int, float]], spent_usd: float, *, share: float = 1.0) -> SweepGuarded | None:
        """None where a trial, or the `share` of one that is left, may begin; else who says no, and why."""
        if self.is_paused:
            self.refusal = self._event("price", "pause", self.choice.reason, self.choice.numbers)
            return self.refusal
        one = self._corrected().times(share)
        answer = self.budget.admit(
            one, self._usd_per_s, spent_usd=spent_usd, going=self._going(going), elapsed_s=self.elapsed_s
        )
        self.refusal = None if answer.admitted else self._event("budget", "full", answer.reason, answer.numbers)
        return self.refusal

    def changed(self, refusal: SweepGuarded | None) -> SweepGuarded | None:
        """What is to be recorded: each guard's answer, where it is another than before."""
        price = self._event("price", self.choice.way, self.choice.reason, self.choice.numbers)
        budget = refusal if refusal and refusal.guard == "budget" else self._event("budget", "run", "there is room")
        for event in (price, budget):
            if self._said.get(event.guard, "run") != event.action:
                self._said[event.guard] = event.action
                return event
        return None

    def leaving(self, going: Sequence[tuple[int, float]], spent_usd: float) -> dict[int, str]:
        """Trials that have to leave now, with the reason. `going` has the best first."""
        if self.is_paused:
            return {number: self.PRICE for number, _ in going}
        numbers = self.budget.leaving(spent_usd=spent_usd, going=self._going(going), elapsed_s=self.elapsed_s)
        return dict.fromkeys(numbers, BUDGET_USED_UP)

    @property
    def elapsed_s(self) -> float:
        return self.driven_s + time.monotonic() - self._began

    @property
    def _usd_per_s(self) -> float:
        """Of a whole trial, with all its workers."""
        return self.usd_per_machine_s * (
            self.estimate.machine_s / self.estimate.seconds if self.estimate.seconds else 1
        )

    def _corrected(self) -> Estimate:
        """Of one trial at the price of now."""
        found = corrected(self.estimate, self._taken)
        return Estimate(found.machine_s * self.usd_per_machine_s, found.seconds, found.machine_s, found.basis)

    def _going(self, going: Sequence[tuple[int, float]]) -> list[Going]:
        one = self._corrected()
        return [Going(number, one.usd * share, self._usd_per_s, one.seconds * share) for number, share in going]

    @staticmethod
    def _event(
        guard: Literal["price", "budget"], action: str, message: str, numbers: dict[str, float] | None = None
    ) -> SweepGuarded:
        return SweepGuarded(guard=guard, action=action, message=message, numbers=numbers or {})
