"""Which offers keep the limits of a wish, and what the others lack."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tradewind.catalog import Offer
from tradewind.planner.choice.lacks import Lacks, Numbers
from tradewind.planner.choice.market import Columns
from tradewind.planner.choice.options import Option
from tradewind.planner.choice.question import Question
from tradewind.planner.choice.residency import is_allowed
from tradewind.planner.inequality import Inequality

if TYPE_CHECKING:
    from tradewind.planner.choice.outlay import Outlay


def screen(question: Question, offers: Sequence[Offer], lacks: Lacks) -> NDArray[np.bool_]:
    """Which offers may be used at all: those of the wanted clouds, chips, markets and countries."""
    unwanted: dict[Inequality, list[int]] = {}
    for number, offer in enumerate(offers):
        if lack := _unwanted(question, offer):
            unwanted.setdefault(lack, []).append(number)
    allowed = np.ones(len(offers), dtype=bool)
    for lack, numbers in unwanted.items():
        allowed[numbers] = False
        lacks.add(np.array(numbers, dtype=np.intp), lack, "wanted")
    return allowed


def within(
    question: Question, columns: Columns, option: Option, outlay: Outlay, numbers: Numbers, lacks: Lacks
) -> NDArray[np.bool_]:
    """Which of these offers keep every limit, even at the upper end of what is predicted."""
    limits = question.limits
    kept = np.ones(len(numbers), dtype=bool)
    checks = (
        ("machines", np.full(len(numbers), float(option.machines)), columns.limit[numbers], "machines"),
        ("hours", outlay.hours[:, 2], question.longest_h, "h") if option.is_training else None,
        ("dollars", outlay.usd[:, 2], limits.budget_usd, "USD"),
        ("carbon", outlay.carbon_kg, limits.carbon_kg, "kg CO2e"),
        ("effort to move there", columns.effort_days[numbers], limits.effort_days, "person-days"),
    )
    for what, need, most, unit in (check for check in checks if check and check[2] is not None):
        have = np.broadcast_to(np.asarray(most, dtype=float), need.shape)
        broken = ~(need <= have)  # what is not known is not within
        if broken.any():
            kept &= ~broken
            lacks.add_each(
                numbers[broken],
                what,
                need=np.nan_to_num(need[broken], nan=np.inf, posinf=np.inf),
                have=have[broken],
                unit=unit,
                stage="limits",
            )
    return kept


def is_chip(offer: Offer, names: Sequence[str]) -> bool:
    """Whether an offer's accelerator is one of these, by its name or its family; `cpu` means none."""
    if offer.chip is None or offer.chip.kind == "cpu":
        return "cpu" in (name.lower() for name in names)
    own = offer.chip.name.lower()
    return any(own == name.lower() or own.startswith(f"{name.lower()}-") for name in names)


def _unwanted(question: Question, offer: Offer) -> Inequality | None:
    limits = question.limits
    if limits.clouds and offer.region.cloud not in limits.clouds:
        return Inequality("not in one of the clouds that are asked for")
    if limits.markets and offer.market not in limits.markets:
        return Inequality("not of one of the markets that are asked for")
    if limits.chips and not is_chip(offer, limits.chips):
        return Inequality("without one of the chips that are asked for")
    if not is_allowed(offer.region, limits.residency):
        return Inequality(f"residency: it is in {offer.region.country or 'a country that is not known'}")
    return None
