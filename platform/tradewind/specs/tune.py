"""The wish for a sweep: a training run, which of its values to search among, and within which limits."""

from __future__ import annotations

import builtins
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, PositiveFloat, ValidationError, model_validator

from tradewind.errors import SpecError, did_you_mean
from tradewind.specs.base import Block, Spec
from tradewind.specs.document import Document
from tradewind.specs.reference import Name
from tradewind.specs.train import TrainSpec

RANGES = ("uniform", "log_uniform", "int", "log_int")
KINDS = (*RANGES, "choice")
CHANGEABLE = ("trials", "parallel", "budget_usd", "budget_hours", "max_price", "max_failures")
"""What may change when a sweep goes on. All else decides what its trials mean beside each other."""


class RangeSpec(Block):
    """The values of one parameter: exactly one kind of range, and perhaps when there is such a parameter at all."""

    uniform: tuple[float, float] | None = Field(default=None, description="from and to")
    log_uniform: tuple[float, float] | None = Field(default=None, description="from and to, even in the logarithm")
    int: tuple[builtins.int, builtins.int] | None = Field(default=None, description="from and to, both included")
    log_int: tuple[builtins.int, builtins.int] | None = Field(default=None, description="the same, in the logarithm")
    choice: tuple[Any, ...] | None = Field(default=None, description="the values themselves, of any kind")
    points: builtins.int = Field(default=5, ge=2, description="how many of a range a grid takes")
    when: dict[str, Any] = Field(
        default={}, description="other parameters with the value, or the list of values, that this one needs"
    )

    @model_validator(mode="after")
    def _is_one_kind(self) -> Self:
        given = [name for name in KINDS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give one of {', '.join(KINDS)}" + (f", not {' and '.join(given)}" if given else ""))
        return self

    @model_validator(mode="after")
    def _has_values(self) -> Self:
        if self.choice is not None:
            if not self.choice:
                raise ValueError("choice is empty")
            if len({json.dumps(value, sort_keys=True, default=str) for value in self.choice}) < len(self.choice):
                raise ValueError("choice has a value twice")
            return self
        low, high = self.ends
        if not low < high:
            raise ValueError(f"{self.kind} from {low} to {high} is empty; a fixed value belongs into `train`")
        if self.is_log and low <= 0:
            raise ValueError(f"{self.kind} needs numbers above 0, not {low}")
        return self

    @property
    def kind(self) -> str:
        return next(name for name in KINDS if getattr(self, name) is not None)

    @property
    def is_log(self) -> bool:
        return self.kind.startswith("log_")

    @property
    def is_whole(self) -> bool:
        return self.kind in ("int", "log_int")

    @property
    def ends(self) -> tuple[Any, ...]:
        """The smallest and the largest value, or all choices."""
        values: tuple[Any, ...] = getattr(self, self.kind)
        return values

    def has(self, value: Any) -> bool:
        """Whether the parameter can be that."""
        if self.choice is not None:
            return any(same(value, choice) for choice in self.choice)
        low, high = self.ends
        is_number = isinstance(value, float | builtins.int) and not isinstance(value, bool)
        return is_number and low <= value <= high and (not self.is_whole or value == math.floor(value))


def same(one: Any, other: Any) -> bool:
    """Whether two values of a spec are one; lists and tuples are, true and 1 are not."""
    return json.dumps(one, sort_keys=True, default=str) == json.dumps(other, sort_keys=True, default=str)


def wanted(needed: Any) -> tuple[Any, ...]:
    """The values that a condition is content with."""
    return tuple(needed) if isinstance(needed, list | tuple) else (needed,)


class SchedulerSpec(Block):
    """Who is stopped early. Steps are those of the run; what counts is the first checkpoint at or after a step."""

    kind: Literal["asha", "median", "pbt", "none"] = "asha"
    grace_steps: int = Field(default=1, ge=1, description="asha, median: no trial is stopped before")
    reduction: int = Field(default=2, ge=2, description="asha: of so many that reach a rung, one goes on")
    startup_trials: int = Field(default=4, ge=1, description="median: trials that must have ended before")
    every_steps: int = Field(default=10, ge=1, description="pbt: how often the worst give way")
    quantile: float = Field(default=0.25, gt=0, le=0.5, description="pbt: the share that gives way to the best")
    factors: tuple[float, ...] = Field(
        default=(0.8, 1.2), min_length=1, description="pbt: numbers are changed by one of them"
    )


class TuneSpec(Spec):
    """A sweep. `train` is written here, or named as a file beside this one."""

    kind: ClassVar[str] = "tune"

    name: Name
    train: TrainSpec
    space: dict[str, RangeSpec] = Field(description="keys of the training spec, like optimizer.learning_rate")
    objective: str = Field(default="heldout_loss", min_length=1, description="a number of the run's metrics")
    goal: Literal["minimize", "maximize"] = "minimize"
    scheduler: SchedulerSpec = SchedulerSpec()
    searcher: Literal["tpe", "cmaes", "random", "grid"] = "tpe"
    startup_trials: int = Field(default=10, ge=1, description="tpe: so many are drawn at random first")
    trials: int = Field(default=20, ge=1, description="configurations that are tried, at most")
    parallel: int = Field(default=2, ge=1, description="trials at once, at most")
    chips_per_trial: float = Field(default=1.0, gt=0, description="for each worker; parts of a chip are shared")
    budget_usd: PositiveFloat | None = Field(default=None, description="dollars for all trials together")
    budget_hours: PositiveFloat | None = Field(
        default=None, description="hours in which the sweep is driven; pauses between two drivers do not count"
    )
    max_price: float = Field(
        default=0.8, gt=0, description="spot workers cost at most this share of the on-demand price"
    )
    max_failures: int = Field(
        default=2, ge=0, description="errors of its own that a configuration is tried again after"
    )
    seed: int = Field(default=0, ge=0)

    @classmethod
    def from_document(cls, document: Document) -> Self:
        """As for every spec; a `train` that is text names a file, beside the one that this is written in."""
        train = document.values.get("train")
        if isinstance(train, str):
            path = Path(document.name).parent / train
            found = TrainSpec.load(path).model_dump()
            document = Document(document.name, {**document.values, "train": found}, document.lines)
        elif isinstance(train, Mapping):
            inner = {key: value for key, value in train.items() if key != "kind"}
            document = Document(document.name, {**document.values, "train": inner}, document.lines)
        scheduler = document.values.get("scheduler")
        if isinstance(scheduler, str):
            document = Document(document.name, {**document.values, "scheduler": {"kind": scheduler}}, document.lines)
        spec = super().from_document(document)
        for key, complaint in spec._problems():
            raise SpecError(f"{document.place(('space', key))}: space.{key}: {complaint}")
        return spec

    @model_validator(mode="after")
    def _searches_something(self) -> Self:
        if not self.space:
            raise ValueError("space is empty: name a key of the training spec with its range")
        return self

    @model_validator(mode="after")
    def _shares_chips(self) -> Self:
        if self.chips_per_trial > 1 and self.chips_per_trial != math.floor(self.chips_per_trial):
            raise ValueError(f"chips_per_trial {self.chips_per_trial} is neither a whole number nor a part of one chip")
        if self.chips_per_trial != 1 and self.train.workers > 1:
            raise ValueError(
                f"chips_per_trial {self.chips_per_trial} with train.workers {self.train.workers}: "
                "workers that train together have a chip each"
            )
        return self

    def train_with(self, values: Mapping[str, Any], *, name: str | None = None) -> TrainSpec:
        """The training spec of one configuration. Raises SpecError for values that do not go together."""
        changes = {key.replace(".", "__"): value for key, value in values.items()}
        return self.train.with_values(**changes, **({"name": name} if name else {}))

    def applies(self, key: str, values: Mapping[str, Any]) -> bool:
        """Whether there is such a parameter beside these values of the others."""
        needs = self.space[key].when
        return all(
            other in values and any(same(values[other], value) for value in wanted(needed))
            for other, needed in needs.items()
        )

    def in_order(self) -> list[str]:
        """The parameters, each after those that its condition names."""
        done: list[str] = []
        while len(done) < len(self.space):
            done += [key for key, one in self.space.items() if key not in done and set(one.when) <= set(done)]
        return done

    def _problems(self) -> list[tuple[str, str]]:
        """Keys that the training spec lacks, values that it refuses, conditions that never hold."""
        found = [(key, text) for key in self.space if (text := self._key_problem(key) or self._condition_problem(key))]
        found = found or [(key, text) for key in self.space if (text := self._cycle_problem(key))]
        return found or [(key, text) for key in self.space if (text := self._value_problem(key))]

    def _key_problem(self, key: str) -> str | None:
        model: Any = TrainSpec
        if key == "name":
            return "each trial has a name of its own"
        if self.scheduler.kind == "pbt" and not key.startswith("optimizer."):
            return "pbt changes values of a model that trains: only those of optimizer can be"
        for part in key.split("."):
            fields = getattr(model, "model_fields", None)
            if fields is None or part not in fields:
                return f"a training spec has no {key!r}{did_you_mean(part, fields or ())}"
            model = _block_of(fields[part].annotation)
        return None

    def _condition_problem(self, key: str) -> str | None:
        for other, needed in self.space[key].when.items():
            if other not in self.space:
                return f"when names {other!r}, which is not in the space{did_you_mean(other, self.space)}"
            never = [value for value in wanted(needed) if not self.space[other].has(value)]
            if never or not wanted(needed):
                return f"when {other} is {needed!r}, which it never is"
        return None

    def _cycle_problem(self, key: str) -> str | None:
        seen, front = set[str](), set(self.space[key].when)
        while front - seen:
            seen |= front
            front = {other for one in front for other in self.space[one].when}
        return "its condition leads back to itself" if key in seen else None

    def _value_problem(self, key: str) -> str | None:
        """Each end by itself: whether values go together is seen when they are tried."""
        where = tuple(key.split("."))
        for value in self.space[key].ends:
            values = self.train.model_dump()
            target = values
            for part in where[:-1]:
                target[part] = target.get(part) or {}
                target = target[part]
            target[where[-1]] = value
            try:
                TrainSpec.model_validate(values)
            except ValidationError as exc:
                errors = [error for error in exc.errors(include_url=False) if error["loc"][: len(where)] == where]
                if errors:
                    return f"{value!r} is refused: {errors[0]['msg'].removeprefix('Value error, ')}"
        return None


def _block_of(annotation: Any) -> Any:
    """The block in an annotation like `LoraSpec | None`, or the annotation."""
    import typing

    found = (one for one in typing.get_args(annotation) if hasattr(one, "model_fields"))
    return annotation if hasattr(annotation, "model_fields") else next(found, annotation)
