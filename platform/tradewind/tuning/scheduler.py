"""Who is stopped early: Optuna's pruners for ASHA and the median rule, and a population whose worst give way."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tradewind.specs import SchedulerSpec, TuneSpec

if TYPE_CHECKING:
    from optuna.pruners import BasePruner


def pruner_of(wish: SchedulerSpec) -> BasePruner:
    """ASHA without waiting (Li et al. 2020, as Optuna has it), or the median rule (Golovin et al. 2017), or nobody."""
    from optuna.pruners import MedianPruner, NopPruner, SuccessiveHalvingPruner

    if wish.kind == "asha":
        return SuccessiveHalvingPruner(min_resource=wish.grace_steps, reduction_factor=wish.reduction)
    if wish.kind == "median":
        return MedianPruner(n_startup_trials=wish.startup_trials, n_warmup_steps=wish.grace_steps)
    return NopPruner()


class Population:
    """Population based training (Jaderberg et al. 2017), each member a trial.

    At each multiple of `every_steps` a trial among the worst of those that came so far gives way: it is stopped, and
    the next trial begins with the checkpoint of one of the best and values near those of that one.
    """

    def __init__(self, spec: TuneSpec) -> None:
        self._spec = spec
        self._values: dict[int, dict[str, Any]] = {}
        self._alive: set[int] = set()
        self._rungs: dict[int, dict[int, float]] = {}
        self._heirs: list[tuple[dict[str, Any], int]] = []

    def begin(self, number: int, values: Mapping[str, Any]) -> None:
        """A member has begun; what was promised to it is not promised any more."""
        if self._heirs and self._heirs[0][0] == dict(values):
            self._heirs.pop(0)
        self._values[number] = dict(values)
        self._alive.add(number)

    def report(self, number: int, step: int, objective: float) -> bool:
        """Whether the member gives way. What begins in its place is the next `heir`."""
        wish, sign = self._spec.scheduler, 1 if self._spec.goal == "minimize" else -1
        rung = step // wish.every_steps
        seen = self._rungs.setdefault(rung, {})
        if rung == 0 or number in seen:
            return False
        seen[number] = sign * objective
        ranked = sorted(seen, key=lambda one: (seen[one], one))
        few = int(len(ranked) * wish.quantile)
        if not few or number not in ranked[-few:]:
            return False
        best = [one for one in ranked[:few] if one in self._alive]
        if not best:
            return False
        draw = random.Random(f"{self._spec.seed}/{number}/{rung}")
        parent = draw.choice(best)
        self._heirs.append((self._near(self._values[parent], draw), parent))
        return True

    def end(self, number: int, *, is_alive: bool) -> None:
        """A member has ended; one that finished still has its checkpoints."""
        if not is_alive:
            self._alive.discard(number)

    def heir(self) -> tuple[dict[str, Any], int] | None:
        return self._heirs[0] if self._heirs else None

    def _near(self, values: Mapping[str, Any], draw: random.Random) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key in self._spec.in_order():
            if key not in values:
                continue
            one = self._spec.space[key]
            if one.choice is not None:
                place = next(at for at, choice in enumerate(one.choice) if choice == values[key])
                near = min(len(one.choice) - 1, max(0, place + draw.choice((-1, 0, 1))))
                found[key] = one.choice[near]
            else:
                low, high = one.ends
                value = values[key] * draw.choice(self._spec.scheduler.factors)
                found[key] = min(high, max(low, round(value) if one.is_whole else value))
        return found
