from __future__ import annotations

import random
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradewind.errors import QuotaError, SpecError
from tradewind.tuning.budget import BudgetGuard, Estimate, Going, corrected

TRIAL = Estimate(usd=1.0, seconds=100.0, machine_s=100.0)


def going(*rests: float, usd_per_s: float = 0.01) -> list[Going]:
    return [Going(number, rest, usd_per_s) for number, rest in enumerate(rests)]


class TestBeforeAnythingStarts:
    def test_budget_that_is_too_small_for_one_trial_is_refused_with_the_estimate(self) -> None:
        with pytest.raises(
            QuotaError, match=r"one trial would cost \$1.00 \(estimated\), more than the budget of \$0.50"
        ):
            BudgetGuard(limit_usd=0.5).check_first(TRIAL)

    def test_hours_that_are_too_few_for_one_trial_are_refused(self) -> None:
        with pytest.raises(QuotaError, match="one trial would take 1 min 40 s"):
            BudgetGuard(limit_s=60).check_first(TRIAL)

    def test_sweep_that_goes_on_is_refused_when_nothing_fits_any_more(self) -> None:
        guard = BudgetGuard(limit_usd=5.0)
        guard.check_first(TRIAL, spent_usd=4.0)
        with pytest.raises(QuotaError, match=r"with \$4.50 spent") as caught:
            guard.check_first(TRIAL, spent_usd=4.5)
        assert "--budget 5.5 " in str(caught.value.hint)

    @pytest.mark.parametrize("guard", [BudgetGuard(), BudgetGuard(limit_usd=1.0), BudgetGuard(limit_s=100.0)])
    def test_budget_that_just_fits_is_taken(self, guard: BudgetGuard) -> None:
        guard.check_first(TRIAL)

    @pytest.mark.parametrize("limit", [0.0, -1.0, float("nan"), float("inf")])
    def test_limit_that_is_none_is_refused(self, limit: float) -> None:
        with pytest.raises(SpecError, match="not a budget in dollars"):
            BudgetGuard(limit_usd=limit)
        with pytest.raises(SpecError, match="not a budget in seconds"):
            BudgetGuard(limit_s=limit)


class TestAdmission:
    def test_what_running_trials_will_still_spend_counts(self) -> None:
        guard = BudgetGuard(limit_usd=5.0)
        assert guard.admit(TRIAL, 0.01, spent_usd=2.0, going=going(1.0, 1.0)).admitted
        refused = guard.admit(TRIAL, 0.01, spent_usd=2.0, going=going(1.0, 1.0, 0.5))
        assert not refused.admitted
        assert refused.reason == (
            "with a trial of $1.00 (estimated) the sweep would come to $5.50, above its budget of $5.00"
        )
        assert refused.numbers == {"projected_usd": 5.5, "left_usd": 3.0}

    def test_trial_that_ends_early_makes_room(self) -> None:
        guard = BudgetGuard(limit_usd=3.0)
        assert not guard.admit(TRIAL, 0.01, spent_usd=1.5, going=going(1.0)).admitted
        assert guard.admit(TRIAL, 0.01, spent_usd=1.6, going=[]).admitted

    def test_without_a_limit_or_on_own_machines_everything_is_admitted(self) -> None:
        free = Estimate(usd=0.0, seconds=10.0)
        assert BudgetGuard().admit(TRIAL, 1.0, spent_usd=1e6, going=going(1e6)).admitted
        assert BudgetGuard(limit_usd=0.01).admit(free, 0.0, spent_usd=0.0, going=[Going(0, 0.0, 0.0)] * 99).admitted

    def test_hours_that_are_left_have_to_be_enough(self) -> None:
        guard = BudgetGuard(limit_s=3600)
        assert guard.admit(TRIAL, 0.0, spent_usd=0, going=[], elapsed_s=3500).admitted
        assert (
            "are left of the budget of hours" in guard.admit(TRIAL, 0.0, spent_usd=0, going=[], elapsed_s=3501).reason
        )


class TestLeaving:
    def test_projection_that_is_too_high_sends_the_last_away_until_it_fits(self) -> None:
        guard = BudgetGuard(limit_usd=5.0)
        assert guard.leaving(spent_usd=2.0, going=going(1.0, 1.0, 1.0)) == ()
        assert guard.leaving(spent_usd=2.0, going=going(1.0, 1.5, 1.0, 1.0)) == (2, 3)

    def test_projection_within_the_tolerance_disturbs_nobody(self) -> None:
        assert BudgetGuard(limit_usd=5.0).leaving(spent_usd=2.0, going=going(1.0, 1.0, 1.09)) == ()

    def test_last_one_stays_until_the_wall(self) -> None:
        guard = BudgetGuard(limit_usd=5.0, look_s=1, leave_s=9)
        assert guard.leaving(spent_usd=4.0, going=going(99.0)) == ()
        assert guard.leaving(spent_usd=4.91, going=going(99.0)) == (0,)

    def test_everybody_leaves_when_the_hours_are_over(self) -> None:
        assert BudgetGuard(limit_s=100).leaving(spent_usd=0, going=going(1.0, 1.0), elapsed_s=95) == (0, 1)


def test_estimate_follows_what_trials_took() -> None:
    better = corrected(TRIAL, [(100.0, 150.0), (200.0, 300.0), (0.0, 7.0)])
    assert (better.usd, better.seconds) == pytest.approx((1.5, 150.0))
    assert better.basis == "from 2 trials"
    assert corrected(TRIAL, []) == TRIAL


@dataclass
class Trial:
    number: int
    rate: float
    """Dollars a second now."""
    work_s: float
    """What it really takes, whatever was expected."""
    done_s: float = 0.0
    leaves_at: float | None = None


@dataclass
class Sweep:
    """A sweep on random machines: true lengths and prices differ from the estimates, and prices move all the time."""

    guard: BudgetGuard
    dice: random.Random
    parallel: int
    cap_usd_per_s: float
    late: float
    """How many times `leave_s` a trial takes to leave."""
    error: float
    """Factor by which trials really are longer than expected, at most; or shorter."""
    length_s: float = 600.0
    spent: float = 0.0
    left_over: int = 0

    def run(self, until_s: float) -> float:
        going: list[Trial] = []
        started, now = 0, 0.0
        while now < until_s and (going or self._begins(going, started)):
            while len(going) < self.parallel and self._begins(going, started):
                going.append(Trial(started, self._price(), self._length()))
                started += 1
            leaving = self.guard.leaving(spent_usd=self.spent, going=[self._going(one) for one in going])
            for one in going:
                if one.number in leaving and one.leaves_at is None:
                    one.leaves_at = now + self.dice.uniform(0, self.late) * self.guard.leave_s
            now += self._pass(going, now)
            ended = [one for one in going if one.done_s >= one.work_s or (one.leaves_at or now + 1) <= now]
            going = [one for one in going if one not in ended]
        return self.spent

    def _begins(self, going: list[Trial], started: int) -> bool:
        if started > 400:
            return False
        estimate = Estimate(self.cap_usd_per_s * self.length_s, self.length_s)
        present = [self._going(one) for one in going]
        return self.guard.admit(estimate, self.cap_usd_per_s, spent_usd=self.spent, going=present).admitted

    def _going(self, one: Trial) -> Going:
        return Going(one.number, max(0.0, self.length_s - one.done_s) * self.cap_usd_per_s, self.cap_usd_per_s)

    def _pass(self, going: list[Trial], now: float) -> float:
        """Time until the next look, which everybody spends at a price of their own."""
        step = self.dice.uniform(0.2, 1.0) * self.guard.look_s
        for one in going:
            worked = min(step, one.work_s - one.done_s, max(0.0, (one.leaves_at or now + step) - now))
            one.done_s += worked
            self.spent += worked * one.rate
            one.rate = self._price()
        return step

    def _price(self) -> float:
        return self.dice.uniform(0.1, 1.0) * self.cap_usd_per_s

    def _length(self) -> float:
        return self.length_s * self.dice.uniform(1 / self.error, self.error)


sweeps = {
    "seed": st.integers(0, 2**32),
    "parallel": st.integers(1, 8),
    "cap_usd_per_hour": st.floats(0.01, 50.0),
    "trials_worth": st.floats(1.0, 12.0),
    "error": st.floats(1.0, 5.0),
}


def sweep(
    seed: int, parallel: int, cap_usd_per_hour: float, trials_worth: float, error: float, *, late: float
) -> Sweep:
    rate = cap_usd_per_hour / 3600
    guard = BudgetGuard(limit_usd=trials_worth * rate * 600.0, look_s=6.0, leave_s=6.0)
    return Sweep(guard, random.Random(seed), parallel, rate, late, error)


@given(**sweeps)
@settings(max_examples=100, deadline=None)
def test_spending_never_passes_the_budget_however_wrong_the_estimates(
    seed: int, parallel: int, cap_usd_per_hour: float, trials_worth: float, error: float
) -> None:
    found = sweep(seed, parallel, cap_usd_per_hour, trials_worth, error, late=1.0)
    assert found.run(until_s=50_000) <= (found.guard.limit_usd or 0) * (1 + 1e-9)


@given(**sweeps)
@settings(max_examples=100, deadline=None)
def test_trials_that_leave_late_pass_the_budget_by_two_percent_at_most(
    seed: int, parallel: int, cap_usd_per_hour: float, trials_worth: float, error: float
) -> None:
    """Late by as much again as they said. A budget is worth at least a trial of ten minutes for each slot."""
    found = sweep(seed, parallel, cap_usd_per_hour, max(trials_worth, parallel), error, late=2.0)
    assert found.run(until_s=50_000) <= (found.guard.limit_usd or 0) * 1.02


def test_most_of_a_budget_is_used() -> None:
    found = [sweep(seed, 4, 1.0, 10.0, 1.0, late=1.0) for seed in range(10)]
    shares = [one.run(until_s=50_000) / (one.guard.limit_usd or 1) for one in found]
    assert min(shares) > 0.85
