"""A spec's space in Optuna's words: one draw of it, and the points of a grid."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from tradewind.specs import RangeSpec, TuneSpec
from tradewind.specs.tune import same

if TYPE_CHECKING:
    from optuna.trial import Trial


def draw(trial: Trial, spec: TuneSpec) -> dict[str, Any]:
    """The values that a searcher suggests, without those whose condition does not hold."""
    values: dict[str, Any] = {}
    for key in spec.in_order():
        if spec.applies(key, values):
            values[key] = _suggested(trial, key, spec.space[key])
    return values


def _suggested(trial: Trial, key: str, one: RangeSpec) -> Any:
    """Choices are known by their place, since Optuna takes only some kinds of values."""
    if one.choice is not None:
        return one.choice[trial.suggest_categorical(key, list(range(len(one.choice))))]
    low, high = one.ends
    suggest = trial.suggest_int if one.is_whole else trial.suggest_float
    return suggest(key, low, high, log=one.is_log)


def internal(spec: TuneSpec, values: Mapping[str, Any]) -> dict[str, Any]:
    """Values of the spec as Optuna knows them."""
    return {key: _known(spec.space[key], value) for key, value in values.items()}


def _known(one: RangeSpec, value: Any) -> Any:
    if one.choice is None:
        return value
    return next(place for place, choice in enumerate(one.choice) if same(choice, value))


def grid(spec: TuneSpec) -> list[dict[str, Any]]:
    """Every point of the grid once, in an order that the seed chooses: a sweep that is cut short saw all corners."""
    keys = spec.in_order()
    found: list[dict[str, Any]] = []
    for point in itertools.product(*(list(_points(spec.space[key])) for key in keys)):
        values: dict[str, Any] = {}
        for key, value in zip(keys, point, strict=True):
            if spec.applies(key, values):
                values[key] = value
        if not any(same(values, other) for other in found):
            found.append(values)
    random.Random(spec.seed).shuffle(found)
    return found


def _points(one: RangeSpec) -> Iterator[Any]:
    if one.choice is not None:
        yield from one.choice
        return
    low, high = one.ends
    count = min(one.points, high - low + 1) if one.is_whole else one.points
    for number in range(count):
        share = number / (count - 1)
        value = low * (high / low) ** share if one.is_log else low + (high - low) * share
        yield min(high, max(low, round(value) if one.is_whole else value))
