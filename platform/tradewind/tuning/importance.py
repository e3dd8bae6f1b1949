"""Which parameters mattered, from the trials of a sweep."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tradewind.specs import RangeSpec
from tradewind.tuning.space import internal
from tradewind.tuning.standing import Standing

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

LEAST_TRIALS = 5
"""Of fewer, nothing is said."""
METHOD = (
    "PED-ANOVA (Watanabe et al., IJCAI 2023; conditional parameters by its extension of 2026): how much a parameter"
    " decides whether a trial is among the best tenth. Shares of the whole, computed by Optuna."
)


def importance(standing: Standing) -> dict[str, float]:
    """Share of each parameter, the greatest first; empty where there are too few trials, or all are alike.

    Pruned trials count with what they had reached.
    """
    found = [(trial, value) for trial in standing.trials if (value := standing.objective(trial)) is not None]
    found = [(trial, value) for trial, value in found if math.isfinite(value) and trial.status != "failed"]
    if len(found) < LEAST_TRIALS or len({value for _, value in found}) < 2:
        return {}
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)  # or each study says that it was made
    study = optuna.create_study(direction=standing.spec.goal)
    for trial, value in found:
        ranges = {key: _distribution(standing.spec.space[key]) for key in trial.values}
        params = internal(standing.spec, trial.values)
        study.add_trial(optuna.trial.create_trial(params=params, distributions=ranges, value=value))
    shares = optuna.importance.get_param_importances(study)
    return dict(sorted(shares.items(), key=lambda item: -item[1])) if len(set(shares.values())) > 1 else {}


def _distribution(one: RangeSpec) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if one.choice is not None:
        return CategoricalDistribution(range(len(one.choice)))
    low, high = one.ends
    if one.is_whole:
        return IntDistribution(low, high, log=one.is_log)
    return FloatDistribution(low, high, log=one.is_log)
