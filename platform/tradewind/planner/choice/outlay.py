"""What one option takes on each of many offers: time, dollars, energy and carbon, as arrays."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tradewind.planner.choice.market import Columns
from tradewind.planner.choice.movement import GB, MONTH_H, Movement, Tariffs, hot_usd_per_gb_month
from tradewind.planner.choice.options import Option
from tradewind.planner.choice.question import START_S, Question
from tradewind.planner.choice.slack import start_of
from tradewind.planner.energy import pue
from tradewind.planner.spot import STEADY, Hazard, rework_share
from tradewind.planner.work import ServingWork, TrainingWork

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Outlay:
    """Rows [offers, 3] for low, expected and high; else [offers]. What is not known is not a number."""

    hours: Floats
    usd: Floats
    compute_usd: Floats
    rework_usd: Floats
    idle_usd: Floats
    transfer_usd: Floats
    storage_usd: Floats
    energy_kwh: Floats
    carbon_kg: Floats

    def where(self, kept: NDArray[np.bool_]) -> Outlay:
        """The rows of the offers that are kept."""
        return Outlay(**{name: column[kept] for name, column in vars(self).items()})


SERVING_BUSY = 0.5
"""Of full power, what a chip draws that serves: 0.19 while it decodes for 8 sequences, 0.99 while it reads prompts
(measured on one H200). The middle is an assumption."""


class Outlays:
    """Reckons for one question over one market. Tariffs and storage prices are looked up once.

    Spot machines of one place are taken together, so that a run on n of them stops √n times as often as one. In the
    traces behind the prior (see `spot.SPOT`), groups of 16 machines stopped 0.8 times an hour, single ones 0.23 times.
    Machines that break do so one by one.
    """

    def __init__(self, question: Question, columns: Columns) -> None:
        self._question = question
        self._columns = columns
        work = question.work
        offers = columns.offers
        self._inward = self._home = None
        if isinstance(work, TrainingWork):
            self._movement = Movement(work, question.home)
            self._inward = Tariffs(offers, source=work.dataset_place).usd(self._movement.bytes_in())
            self._home = Tariffs(offers, target=question.home)
        self._storage = np.array([hot_usd_per_gb_month(offer.region.cloud) for offer in offers])

    def of(self, option: Option, rows: NDArray[np.intp]) -> Outlay:
        """What an option takes on the offers of these numbers."""
        work = self._question.work
        hours = _worked_hours(work, option)  # low, expected, high, with nothing lost
        lost = self._lost(option, rows, checkpoint_s=getattr(work, "checkpoint_every_s", 0.0))
        start_h = self._columns.start_h[rows]
        prices = self._columns.usd_per_hour[rows][:, None] * np.array(option.machines_range)
        price = prices[:, 1]
        elapsed = hours * (1 + lost) + (start_h[:, None] if isinstance(work, TrainingWork) else 0.0)
        held = price * hours[1]
        transfer, storage = self._moved(rows, hours[1]), self._kept(rows, hours[1])
        fixed = transfer + storage + price * start_h
        energy = self._energy_kwh(option, rows, elapsed[:, 1])
        grid = self._grid_g_per_kwh(rows, elapsed[:, 2])
        return Outlay(
            hours=elapsed,
            usd=prices * hours * (1 + lost) + fixed[:, None],
            compute_usd=held * (1 - option.idle_share),
            rework_usd=held * lost[:, 1],
            idle_usd=held * option.idle_share + price * start_h,
            transfer_usd=transfer,
            storage_usd=storage,
            energy_kwh=energy,
            carbon_kg=energy * grid / 1000,
        )

    def _lost(self, option: Option, rows: NDArray[np.intp], *, checkpoint_s: float) -> Floats:
        """Work that interruptions cost, as shares of the work. [offers, 3]."""
        machines = option.machines
        spot = rework_share(_rates(self._question.hazard), math.sqrt(machines), checkpoint_s, START_S)
        steady = rework_share(_rates(Hazard(prior=STEADY)), machines, checkpoint_s, START_S)
        return np.where(self._columns.is_spot[rows][:, None], spot, steady)

    def _moved(self, rows: NDArray[np.intp], hours: float) -> Floats:
        if self._home is None or self._inward is None:
            return np.zeros(len(rows))
        return self._inward[rows] + self._home.usd(self._movement.bytes_home(hours))[rows]

    def _kept(self, rows: NDArray[np.intp], hours: float) -> Floats:
        if self._home is None:
            return np.zeros(len(rows))
        return self._storage[rows] * self._movement.bytes_kept() / GB * hours / MONTH_H

    def _grid_g_per_kwh(self, rows: NDArray[np.intp], hours: Floats) -> Floats:
        """Grams by kWh of the machines, from hourly figures where there are some and from yearly averages elsewhere."""
        grams = self._columns.carbon_g_per_kwh[rows]
        if not self._question.signals or not isinstance(self._question.work, TrainingWork):
            return grams
        for index, row in enumerate(rows):
            offer = self._columns.offers[int(row)]
            if start := start_of(self._question, offer, float(hours[index])):
                grams[index] = start.mean * pue(offer.region).value
        return grams

    def _energy_kwh(self, option: Option, rows: NDArray[np.intp], hours: Floats) -> Floats:
        busy = option.busy if option.is_training else SERVING_BUSY * option.busy
        watts = self._columns.idle_w[rows] + busy * self._columns.busy_w[rows]
        return watts * option.machines * hours / 1000


def _rates(hazard: Hazard) -> Floats:
    """Interruptions an hour: low, expected, high."""
    low, high = hazard.interval(0.9)
    return np.array([low, hazard.mean_per_hour, high])


def _worked_hours(work: TrainingWork | ServingWork, option: Option) -> Floats:
    """Low, expected, high."""
    if isinstance(work, ServingWork):
        return np.full(3, work.hours)
    speed = option.tokens_per_s
    hours = work.tokens / np.array([speed.high, speed.value, speed.low]) / 3600
    return np.minimum(hours, work.longest_s / 3600) if work.longest_s else hours
