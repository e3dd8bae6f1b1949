"""A plan: every offer that can do the work within its limits, what each would take, and why the others cannot.

The offers are grouped by kind of machine, since what a machine can do depends on neither place nor price; for each
kind and number of machines the fastest layout is found; what that takes on every offer of the kind is then reckoned in
arrays.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradewind.catalog import Offer
from tradewind.errors import NoPlanError, SpecError, did_you_mean
from tradewind.planner.choice.assumptions import assumptions
from tradewind.planner.choice.front import pareto_front
from tradewind.planner.choice.kinds import Kind, kinds
from tradewind.planner.choice.lacks import Lacks
from tradewind.planner.choice.limits import screen, within
from tradewind.planner.choice.market import Columns
from tradewind.planner.choice.options import Option, serving_options, training_options
from tradewind.planner.choice.outlay import Outlay, Outlays
from tradewind.planner.choice.placing import placement
from tradewind.planner.choice.question import Question
from tradewind.planner.correction import Corrector
from tradewind.planner.inequality import Inequality
from tradewind.planner.work import TrainingWork
from tradewind.records import Placement

MEASURES = ("cost", "time", "carbon", "effort")
NEAREST = 3


@dataclass(frozen=True)
class Rejection:
    """An offer that cannot do the work, and of what it lacks least."""

    offer: Offer
    reason: Inequality

    def __str__(self) -> str:
        return f"{self.offer.id}: {self.reason}"


def make_plan(question: Question, offers: Sequence[Offer]) -> Plan:
    """Find what can do the work. Raises NoPlanError with the nearest misses when nothing can."""
    columns = Columns(offers, question)
    lacks = Lacks(len(offers))
    allowed = screen(question, offers, lacks)
    found, unknown = kinds(offers)
    for number, lack in unknown.items():
        lacks.add(np.array([number]), lack, "known")
    outlays = Outlays(question, columns)
    corrector = Corrector(question.measurements, chips=question.chips)
    rows = [part for kind in found for part in _rows(question, kind, columns, outlays, corrector, allowed, lacks)]
    plan = Plan(question, offers, tuple(rows), lacks)
    if not plan.count:
        raise _no_plan(plan)
    return plan


@dataclass(frozen=True)
class Rows:
    """One option on the offers that can take it. `outlay` is of those alone, in their order."""

    option: Option
    offers: NDArray[np.intp]
    outlay: Outlay


class Plan:
    """Candidates in the order of their weighted cost, and rejected offers. `rank` orders anew."""

    def __init__(
        self,
        question: Question,
        offers: Sequence[Offer],
        rows: tuple[Rows, ...],
        lacks: Lacks,
        weights: Mapping[str, float] | None = None,
    ) -> None:
        self.question = question
        self.offers = offers
        self.weights = dict(weights or {"cost": 1.0})
        self._rows = rows
        self._lacks = lacks

    def rank(self, **weights: float) -> Plan:
        """The same plan in another order: each of cost, time, carbon and effort is weighed in units of its median.

        What is not known counts as the worst. Raises SpecError for another measure or a negative weight.
        """
        for name, weight in weights.items():
            if name not in MEASURES:
                raise SpecError(f"no measure named {name!r}{did_you_mean(name, MEASURES)}")
            if not 0 <= weight < float("inf"):
                raise SpecError(f"weight {weight!r} of {name}", hint="weights are numbers from 0 on, like cost=1")
        if not any(weights.values()):
            raise SpecError("all weights are 0", hint="give one that counts, like cost=1")
        return Plan(self.question, self.offers, self._rows, self._lacks, weights)

    @property
    def count(self) -> int:
        """Number of candidates: offers with a number of machines each."""
        return sum(len(row.offers) for row in self._rows)

    @property
    def best(self) -> Placement:
        """The first of the candidates."""
        return self.candidate(0)

    @cached_property
    def front(self) -> list[Placement]:
        """The candidates that no other one beats in dollars, hours and carbon at once, the cheapest first."""
        measures = self._measures[:, :3]
        return [self._placement(int(row)) for row in pareto_front(measures)]

    def candidates(self, limit: int | None = None) -> Iterator[Placement]:
        """The candidates in their order."""
        return (self._placement(int(row)) for row in self._order[:limit])

    def candidate(self, number: int) -> Placement:
        """The candidate of a number, from 0 on. Raises SpecError where there are fewer."""
        if not 0 <= number < self.count:
            raise SpecError(f"there is no candidate {number}", hint=f"the plan has 0 to {self.count - 1}")
        return self._placement(int(self._order[number]))

    @cached_property
    def rejected(self) -> list[Rejection]:
        """Every offer that no number of machines makes a candidate, those that lack least first."""
        others = np.setdiff1d(np.arange(len(self.offers)), self._possible)
        found = ((self.offers[number], self._lacks.nearest(number)) for number in self._lacks.order(others).tolist())
        return [Rejection(offer, lack) for offer, lack in found if lack]

    def nearest(self, count: int) -> list[Rejection]:
        """The rejected offers that lack least, each machine type once."""
        first: dict[tuple[str, str], Rejection] = {}
        for one in self.rejected:
            first.setdefault((one.offer.region.cloud, one.offer.instance.name), one)
        return list(first.values())[:count]

    @cached_property
    def num_possible(self) -> int:
        """Number of offers that are candidates with some number of machines."""
        return len(self._possible)

    @cached_property
    def assumptions(self) -> tuple[str, ...]:
        """What the figures rest on beside prices and measurements."""
        return assumptions(self.question, [row.option for row in self._rows])

    @cached_property
    def _possible(self) -> NDArray[np.intp]:
        return np.unique(np.concatenate([row.offers for row in self._rows])) if self._rows else np.empty(0, np.intp)

    @cached_property
    def reasons(self) -> Counter[str]:
        """What was lacking → of how many rejected offers that was the nearest."""
        return Counter(one.reason.what for one in self.rejected)

    def to_pandas(self, limit: int | None = None) -> Any:
        """The candidates in their order as a DataFrame. Raises SpecError where pandas is not installed."""
        from tradewind.planner.choice.frame import placements_frame

        return placements_frame(self.candidates(limit))

    def to_html(self) -> str:
        """A page with a chart of all candidates and a table of the first ones."""
        from tradewind.planner.choice.page import plan_page

        return plan_page(self)

    def _repr_html_(self) -> str:
        from tradewind.planner.choice.page import plan_fragment

        return plan_fragment(self)

    def at(self, row: int) -> Placement:
        """The candidate of a row of `points`."""
        return self._placement(row)

    def points(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Hours and dollars of all candidates."""
        return self._measures[:, 1], self._measures[:, 0]

    @cached_property
    def _measures(self) -> NDArray[np.float64]:
        """[candidates, measures] in the order of MEASURES."""
        columns = Columns(self.offers, self.question)
        parts = [
            np.column_stack(
                (row.outlay.usd[:, 1], row.outlay.hours[:, 1], row.outlay.carbon_kg, columns.effort_days[row.offers])
            )
            for row in self._rows
        ]
        return np.concatenate(parts) if parts else np.empty((0, len(MEASURES)))

    @cached_property
    def _order(self) -> NDArray[np.intp]:
        score = np.zeros(len(self._measures))
        for name, weight in self.weights.items():
            column = self._measures[:, MEASURES.index(name)]
            known = column[np.isfinite(column)]
            middle = float(np.median(known)) if len(known) else 0.0
            worst = float(known.max()) if len(known) else 0.0
            if weight and middle > 0:
                score += weight * np.nan_to_num(column, nan=worst, posinf=worst) / middle
        return np.lexsort((self._measures[:, 1], self._measures[:, 0], score))

    @cached_property
    def _ends(self) -> NDArray[np.intp]:
        return np.cumsum([len(row.offers) for row in self._rows])

    def _placement(self, row: int) -> Placement:
        part = int(np.searchsorted(self._ends, row, side="right"))
        within_part = row - (int(self._ends[part - 1]) if part else 0)
        found = self._rows[part]
        offer = self.offers[int(found.offers[within_part])]
        return placement(self.question, offer, found.option, found.outlay, within_part)


def _rows(
    question: Question,
    kind: Kind,
    columns: Columns,
    outlays: Outlays,
    corrector: Corrector,
    allowed: NDArray[np.bool_],
    lacks: Lacks,
) -> Iterator[Rows]:
    """The options of a kind, each with the offers of the kind that keep all limits."""
    numbers = np.array(kind.offers, dtype=np.intp)
    numbers = numbers[allowed[numbers]]
    if not len(numbers):
        return
    most = int(columns.limit[numbers].max())
    work = question.work
    if isinstance(work, TrainingWork):
        options, missing = training_options(work, kind.node, most=most, corrector=corrector)
    else:
        options, missing = serving_options(work, kind.node, most=most, corrector=corrector)
    for lack in missing:
        lacks.add(numbers, lack, "fits")
    for option in options:
        outlay = outlays.of(option, numbers)
        kept = within(question, columns, option, outlay, numbers, lacks)
        if kept.any():
            yield Rows(option, numbers[kept], outlay.where(kept))


def _no_plan(plan: Plan) -> NoPlanError:
    reasons = ", ".join(f"{what} ({count})" for what, count in plan.reasons.most_common(3))
    return NoPlanError(
        f"none of {len(plan.offers)} offers does this within its limits: {reasons or 'there is no offer'}",
        hint="the nearest misses say what to change: limits are `where` in the spec and options of `tw plan`",
        misses=[str(one) for one in plan.nearest(NEAREST)],
    )
