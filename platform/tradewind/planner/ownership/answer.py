"""A question of buying or renting chips, answered from the catalogue: every number with where it is from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tradewind.catalog import Catalog, Chip
from tradewind.errors import SpecError
from tradewind.planner.ownership.case import Case, Pays, Purchase, Renting, Terms
from tradewind.planner.ownership.comparison import Comparison, compare
from tradewind.planner.ownership.fitting import Fit, fit
from tradewind.planner.ownership.hours import GpuRate, Month
from tradewind.planner.ownership.inputs import Input, inputs
from tradewind.planner.ownership.known import excess_power, known
from tradewind.planner.ownership.sensitivity import Bar, tornado

OPPORTUNITY = "opportunity_usd"

DOUBTFUL = 1.2
"""A stated power so many times what it should be at most is doubted."""


@dataclass(frozen=True)
class Question:
    gpu: str = "H100-SXM"
    nodes: int = 1
    gpus_per_node: int = 8
    pays: Pays = "used"
    month: Month = "730h"
    cloud: str | None = None
    """Whose rent to compare with; None: the cheapest of all."""
    given: Mapping[str, float] = field(default_factory=dict)
    """Inputs by name that replace what is known or assumed."""
    model: str | None = None
    """A model, by its public name, that is to be served by one machine."""


@dataclass(frozen=True)
class Answer:
    chip: Chip
    question: Question
    inputs: Mapping[str, Input]
    comparison: Comparison
    with_opportunity: Comparison | None
    """None where no opportunity costs were given; `comparison` is always without."""
    bars: tuple[Bar, ...]
    fit: Fit | None
    """None where no model was named."""
    warnings: tuple[str, ...]

    @property
    def case(self) -> Case:
        return self.comparison.case

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for `--json`."""
        return {
            "chip": self.chip.name,
            "question": {**asdict(self.question), "given": dict(self.question.given)},
            "comparison": comparison_dict(self.comparison),
            "with_opportunity": comparison_dict(self.with_opportunity) if self.with_opportunity else None,
            "inputs": [asdict(one) for one in self.inputs.values()],
            "tornado": [
                {
                    "input": bar.name,
                    "low": bar.low,
                    "high": bar.high,
                    "saving_usd_at_low": bar.at_low.saving_usd,
                    "saving_usd_at_high": bar.at_high.saving_usd,
                    "flips": bar.flips,
                }
                for bar in self.bars
            ],
            "fit": {**asdict(self.fit), "fits": self.fit.fits, "basis": "estimated"} if self.fit else None,
            "warnings": list(self.warnings),
        }

    def _repr_html_(self) -> str:
        from tradewind.planner.ownership.page import charts

        return "".join(charts(self))


def buy_or_rent(catalog: Catalog, question: Question) -> Answer:
    """Raises NotFoundError for an unknown chip or cloud, SpecError for an input that nobody knows or that cannot be."""
    chip = _chip(catalog, question)
    about = known(catalog, chip, gpus_per_node=question.gpus_per_node, pays=question.pays, cloud=question.cloud)
    numbers = inputs(question.given, about)
    values = {name: one.value for name, one in numbers.items()}
    full = _case(question, values)
    fits = fit(catalog, question.model, chip, chips=question.gpus_per_node) if question.model else None
    comparison = compare(full.with_value(OPPORTUNITY, 0.0))
    return Answer(
        chip=chip,
        question=question,
        inputs=numbers,
        comparison=comparison,
        with_opportunity=compare(full) if values[OPPORTUNITY] else None,
        bars=tuple(tornado(comparison.case, numbers)),
        fit=fits,
        warnings=tuple(_warnings(chip, question, numbers)),
    )


def comparison_dict(found: Comparison) -> dict[str, Any]:
    threshold = found.threshold
    return {
        "answer": found.answer,
        "buy_usd": found.buy_usd,
        "rent_usd": found.rent_usd,
        "saving_usd": found.saving_usd,
        "buy_usd_per_month": found.buy_usd_per_month,
        "rent_usd_per_month": found.rent_usd_per_month,
        "break_even_months": found.break_even_months,
        "pays_back": found.pays_back,
        "buy_usd_per_gpu_hour": found.buy_usd_per_gpu_hour,
        "rent_usd_per_gpu_hour": found.rent_usd_per_gpu_hour,
        "threshold_utilisation": threshold.utilisation if threshold else None,
        "cheaper_above_threshold": threshold.above if threshold else None,
        "basis": "estimated",
    }


def _chip(catalog: Catalog, question: Question) -> Chip:
    """The chip of that name, or of that family the one with most memory that machines of the size have."""
    exact = next((name for name in catalog.chips if name.casefold() == question.gpu.casefold()), None)
    if exact:
        return catalog.chip(exact)
    offers = catalog.offers(gpu=question.gpu)
    chips = [offer.chip for offer in offers if offer.chip and offer.chips == question.gpus_per_node]
    if not chips:
        raise SpecError(
            f"no cloud rents a machine with {question.gpus_per_node} {question.gpu}",
            hint="name one chip of the family, or another number of chips in a machine",
        )
    return max(chips, key=lambda chip: (chip.memory_bytes or 0, chip.name))


def _case(question: Question, values: Mapping[str, float]) -> Case:
    start = Case(
        Purchase(nodes=question.nodes, gpus_per_node=question.gpus_per_node, node_usd=0.0),
        Renting(GpuRate(0.0), pays=question.pays),
        Terms(utilisation=0.0, horizon_months=1.0, month=question.month),
    )
    for name, value in values.items():
        start = start.with_value(name, value)
    return start


def _warnings(chip: Chip, question: Question, numbers: Mapping[str, Input]) -> Iterator[str]:
    node_kw, rent = numbers["node_kw"].value, numbers["usd_per_gpu_hour"]
    excess = excess_power(chip, gpus_per_node=question.gpus_per_node, node_kw=node_kw)
    if excess and excess > DOUBTFUL:
        servers = f"a server with {question.gpus_per_node} {chip.name}"
        yield f"{node_kw:g} kW is {excess:.1f} times the most that {servers} should draw"
    if question.pays == "always" and rent.basis == "source" and "/on_demand" in rent.source:
        yield "no price of a reservation is known, so the one on demand is paid always: give --usd-per-gpu-hour"
