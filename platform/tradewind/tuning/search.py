"""The searcher and the scheduler of a sweep, told everything in the order of the records.

Optuna suggests and judges; its study is in memory, and is nothing but what the records say. A sampler is made anew for
each trial, from the sweep's seed and the trial's number: what it suggests follows from what it was told, so a sweep
that goes on after its driver has died suggests what it would have suggested.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, CmaEsSampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from tradewind.records import SweepEvent, TrialEnd, TrialReport, TrialStart
from tradewind.specs import TuneSpec
from tradewind.specs.tune import same
from tradewind.tuning import space
from tradewind.tuning.scheduler import Population, pruner_of

_log = logging.getLogger(__name__)
optuna.logging.set_verbosity(optuna.logging.WARNING)


class SeededSampler(BaseSampler):
    """A sampler whose choice for the n-th trial follows from the seed, n, and the trials before."""

    def __init__(self, spec: TuneSpec) -> None:
        self.number: int | None = None
        """The sweep's own; by default that of the study."""
        self._spec = spec
        self._inner: BaseSampler = RandomSampler(seed=spec.seed)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        number = trial.number if self.number is None else self.number
        self._inner = self._made(random.Random(f"{self._spec.seed}/{number}").getrandbits(31))
        self._inner.before_trial(study, trial)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._inner.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._inner.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._inner.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Any) -> None:
        self._inner.after_trial(study, trial, state, values)

    def _made(self, seed: int) -> BaseSampler:
        spec = self._spec
        if spec.searcher == "tpe":
            return TPESampler(seed=seed, n_startup_trials=spec.startup_trials)
        if spec.searcher == "cmaes":
            return CmaEsSampler(seed=seed, warn_independent_sampling=False)
        return RandomSampler(seed=seed)


class Search:
    """`ask` for the next configuration; `hear` every event, also those of before."""

    def __init__(self, spec: TuneSpec) -> None:
        self.spec = spec
        self._sampler = SeededSampler(spec)
        self._study = optuna.create_study(
            direction=spec.goal,
            sampler=self._sampler,
            pruner=pruner_of(spec.scheduler),
            storage=optuna.storages.InMemoryStorage(),
        )
        self._trials: dict[int, optuna.Trial] = {}
        self._told: dict[int, int] = {}
        self._grid = space.grid(spec) if spec.searcher == "grid" else None
        self._population = Population(spec) if spec.scheduler.kind == "pbt" else None
        self._asked: tuple[int, dict[str, Any], optuna.Trial] | None = None

    @property
    def most(self) -> int:
        """How many configurations there will be, at most."""
        return self.spec.trials if self._grid is None else min(self.spec.trials, len(self._grid))

    def ask(self, number: int) -> tuple[dict[str, Any], int | None]:
        """The configuration of trial `number`, and the trial with whose checkpoint it begins, if any."""
        if self._population and (heir := self._population.heir()):
            return heir
        if self._asked is None or self._asked[0] != number:
            self._sampler.number = number
            if self._grid is not None:
                self._study.enqueue_trial(space.internal(self.spec, self._grid[number]))
            trial = self._study.ask()
            self._asked = number, space.draw(trial, self.spec), trial
        return self._asked[1], None

    def hear(self, event: SweepEvent) -> bool:
        """Take an event in. Of a report: whether the trial shall be stopped."""
        if isinstance(event, TrialStart):
            self._trials[event.number] = self._started(event)
            if self._population:
                self._population.begin(event.number, event.values)
        elif isinstance(event, TrialReport):
            return self._reported(event)
        elif isinstance(event, TrialEnd):
            self._ended(event)
        return False

    def _started(self, event: TrialStart) -> optuna.Trial:
        """The trial that was asked for, or one that is given the values which the records have."""
        if event.parent is None and event.number < self.most:
            self.ask(event.number)
        asked, self._asked = self._asked, None
        if asked and same(asked[1], event.values):
            return asked[2]
        if asked:
            _log.warning("trial %d was begun with other values than a search suggests now", event.number)
            self._study.tell(asked[2], state=TrialState.FAIL)
        return self._given(event.values)

    def _given(self, values: Mapping[str, Any]) -> optuna.Trial:
        self._study.enqueue_trial(space.internal(self.spec, values))
        trial = self._study.ask()
        space.draw(trial, self.spec)
        return trial

    def _reported(self, event: TrialReport) -> bool:
        trial = self._trials[event.number]
        if event.step <= self._told.get(event.number, -1):
            return False
        self._told[event.number] = event.step
        trial.report(event.objective, event.step)
        if self._population:
            return self._population.report(event.number, event.step, event.objective)
        return trial.should_prune()

    def _ended(self, event: TrialEnd) -> None:
        trial = self._trials.pop(event.number)
        if self._population:
            self._population.end(event.number, is_alive=event.status == "finished")
        if event.status == "finished" and event.objective is not None:
            self._study.tell(trial, event.objective)
        else:
            state = TrialState.PRUNED if event.status == "pruned" else TrialState.FAIL
            self._study.tell(trial, state=state)
