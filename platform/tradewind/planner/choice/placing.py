"""One candidate in words and numbers: the record of work on an offer."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradewind.catalog import Offer
from tradewind.planner.choice.options import Option
from tradewind.planner.choice.outlay import Outlay
from tradewind.planner.choice.question import Question
from tradewind.planner.choice.slack import start_of, start_words
from tradewind.planner.layout import TrainingSetup
from tradewind.planner.serving_time import ServingRate
from tradewind.planner.work import ServingWork, TrainingWork
from tradewind.records import Cost, Interval, Placement

MILLION = 10**6


def placement(question: Question, offer: Offer, option: Option, outlay: Outlay, row: int) -> Placement:
    """What an option takes on one offer; `row` is the offer's number in the outlay."""
    usd = outlay.usd[row]
    rate = option.time if isinstance(option.time, ServingRate) else None
    start = start_of(question, offer, float(outlay.hours[row][2])) if option.is_training else None
    energy, carbon = float(outlay.energy_kwh[row]), float(outlay.carbon_kg[row])
    return Placement(
        offer=offer.id,
        cloud=offer.region.cloud,
        region=offer.region.name,
        zone=offer.zone,
        instance=offer.instance.name,
        market=offer.market,
        chip=offer.chip.name if offer.chip else "",
        machines=option.machines,
        chips=option.chips,
        **_setup(option),
        precision=option.precision,
        tokens_per_s=Interval(
            low=option.tokens_per_s.low, value=option.tokens_per_s.value, high=option.tokens_per_s.high
        ),
        estimated_tokens_per_s=option.time.tokens_per_s,
        hours=_interval(outlay.hours[row]),
        usd_per_machine_hour=offer.usd_per_hour,
        price_as_of=offer.as_of,
        price_is_old=offer.is_stale(question.now.date()),
        cost=Cost(
            compute_usd=float(outlay.compute_usd[row]),
            rework_usd=float(outlay.rework_usd[row]),
            idle_usd=float(outlay.idle_usd[row]),
            transfer_usd=float(outlay.transfer_usd[row]),
            storage_usd=float(outlay.storage_usd[row]),
        ),
        cost_usd=_interval(usd),
        usd_per_million_tokens=float(usd[1]) / tokens_of(question.work) * MILLION,
        energy_kwh=None if math.isnan(energy) else energy,
        carbon_kg=None if math.isnan(carbon) else carbon,
        effort_days=question.effort_days.get(offer.region.cloud, 0.0),
        memory_bytes=option.memory_bytes,
        basis=option.tokens_per_s.basis,
        ttft_s=rate.ttft_s if rate else None,
        itl_s=rate.itl_s if rate else None,
        starts_at=start.at if start and start.at > question.now else None,
        why=(*option.why, start_words(offer, start)) if start else option.why,
    )


def tokens_of(work: TrainingWork | ServingWork) -> float:
    """Tokens that the work goes through: trained on, or read and written."""
    if isinstance(work, ServingWork):
        return work.requests_per_s * (work.tokens_in + work.tokens_out) * work.hours * 3600
    return float(work.tokens)


def _setup(option: Option) -> dict[str, Any]:
    layout = {name: size for name, size in asdict(option.setup.layout).items() if size > 1}
    if isinstance(option.setup, TrainingSetup):
        setup = option.setup
        return {
            "layout": layout,
            "micro_batch": setup.micro_batch,
            "micro_batches": setup.micro_batches,
            "recompute": setup.recompute,
        }
    return {"layout": layout, "sequences": option.setup.sequences, "replicas": option.replicas}


def _interval(values: NDArray[np.float64]) -> Interval:
    low, value, high = (float(one) for one in values)
    return Interval(low=low, value=value, high=high)
