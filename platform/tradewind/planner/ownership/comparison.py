"""Buying against renting: what each has cost by which month, when the lines cross, and at which use the answer flips.

Money of later months is worth less today by the cost of capital, so all sums are present values; with a cost of capital
of nothing they are plain sums. Payments fall at the end of a month, the purchase at the beginning.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from tradewind.planner.ownership.case import Case
from tradewind.planner.ownership.hours import month_hours

Answer = Literal["buy", "rent"]


@dataclass(frozen=True)
class Threshold:
    """Where both cost the same: on one side of it buying is cheaper, on the other renting."""

    utilisation: float
    above: Answer


@dataclass(frozen=True)
class Comparison:
    """Dollars are present values over the horizon, `estimated` from the inputs of the case."""

    case: Case
    buy_usd: float
    """Purchase and running costs, less what the servers sell for at the end."""
    rent_usd: float
    buy_usd_per_month: float
    """Of running what was bought."""
    rent_usd_per_month: float
    break_even_months: float | None
    """When the rent that was saved has paid for the purchase, nothing sold; may lie behind the horizon. None: never."""
    buy_usd_per_gpu_hour: float | None
    """Of a chip that works, by its share of all costs (levelised); None where none ever works."""
    rent_usd_per_gpu_hour: float | None
    threshold: Threshold | None
    """None where one is cheaper at every use."""

    @property
    def answer(self) -> Answer:
        return "buy" if self.buy_usd < self.rent_usd else "rent"

    @property
    def saving_usd(self) -> float:
        """What buying saves over the horizon; below 0 where renting does."""
        return self.rent_usd - self.buy_usd

    @property
    def pays_back(self) -> bool:
        """Whether it does so within the horizon."""
        return self.break_even_months is not None and self.break_even_months <= self.case.terms.horizon_months


def compare(case: Case) -> Comparison:
    """Both ways over the horizon."""
    years = _annuity(case, case.terms.horizon_months)
    buy, rent = buying_per_month(case), renting_per_month(case)
    worth = _buying(case)
    used = case.purchase.gpus * _hours(case) * case.terms.utilisation * years
    return Comparison(
        case=case,
        buy_usd=worth,
        rent_usd=rent * years,
        buy_usd_per_month=buy,
        rent_usd_per_month=rent,
        break_even_months=break_even_months(case.purchase.capital_usd, rent - buy, wacc=case.terms.wacc),
        buy_usd_per_gpu_hour=worth / used if used else None,
        rent_usd_per_gpu_hour=rent * years / used if used else None,
        threshold=_threshold(case),
    )


def break_even_months(capital_usd: float, saving_usd_per_month: float, *, wacc: float = 0.0) -> float | None:
    """Months in which a monthly saving repays a sum: capital = saving · (1 − (1+i)⁻ᵐ) / i. None where it never does.

    With interest there is a smallest saving that ever repays it: i · capital, the interest alone.
    """
    if capital_usd <= 0:
        return 0.0
    interest = _monthly(wacc)
    if saving_usd_per_month <= interest * capital_usd:
        return None
    if interest == 0:
        return capital_usd / saving_usd_per_month
    return -math.log1p(-interest * capital_usd / saving_usd_per_month) / math.log1p(interest)


def buying_per_month(case: Case) -> float:
    """Dollars of running what was bought."""
    return case.purchase.standing_usd_per_month + case.purchase.power_usd_per_month(
        case.terms.utilisation, case.terms.month
    )


def renting_per_month(case: Case) -> float:
    """Dollars of rent: for the hours used, or for all."""
    share = case.terms.utilisation if case.renting.pays == "used" else 1.0
    rent = case.renting.usd_per_gpu_hour.usd * case.purchase.gpus * _hours(case) * share
    return rent + case.renting.rent_other_usd_per_month


def curves(case: Case) -> list[tuple[int, float, float]]:
    """Month, paid for buying by then, paid for renting by then. Nothing is sold yet."""
    buy, rent, capital = buying_per_month(case), renting_per_month(case), case.purchase.capital_usd
    worths = [(at, _annuity(case, at)) for at in range(math.ceil(case.terms.horizon_months) + 1)]
    return [(at, capital + buy * worth, rent * worth) for at, worth in worths]


def at_use(case: Case, utilisation: float) -> Case:
    return replace(case, terms=replace(case.terms, utilisation=utilisation))


def _threshold(case: Case) -> Threshold | None:
    """Both sums are linear in use, so two points of each say where they cross."""
    idle, full = at_use(case, 0.0), at_use(case, 1.0)
    months = _annuity(case, case.terms.horizon_months)
    at_none = _buying(idle) - renting_per_month(idle) * months
    at_full = _buying(full) - renting_per_month(full) * months
    if at_none * at_full >= 0:
        return None
    return Threshold(at_none / (at_none - at_full), "buy" if at_full < 0 else "rent")


def _buying(case: Case) -> float:
    months = case.terms.horizon_months
    later = math.exp(-months * math.log1p(_monthly(case.terms.wacc)))
    sold = case.purchase.residual_usd(months) * later
    return case.purchase.capital_usd + buying_per_month(case) * _annuity(case, months) - sold


def _annuity(case: Case, months: float) -> float:
    """Present value of a dollar at the end of each month."""
    interest = _monthly(case.terms.wacc)
    return -math.expm1(-months * math.log1p(interest)) / interest if interest else months


def _monthly(wacc: float) -> float:
    return math.expm1(math.log1p(wacc) / 12)


def _hours(case: Case) -> float:
    return month_hours(case.terms.month)
