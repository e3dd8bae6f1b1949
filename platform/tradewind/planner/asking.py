"""A plan for a spec in a workspace: its limits checked for words that mean nothing, and everything that is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tradewind.catalog import Catalog, Offer
from tradewind.errors import NotFoundError, did_you_mean
from tradewind.planner.choice.limits import is_chip
from tradewind.planner.choice.question import Question
from tradewind.planner.choice.residency import check_residency
from tradewind.planner.measurements import measurements
from tradewind.planner.own_machine import own_offer
from tradewind.planner.plan import Plan, make_plan
from tradewind.planner.starts import read_signals
from tradewind.planner.wish import serving_work, training_work
from tradewind.records import Machine, Place, now
from tradewind.specs import ServeSpec, TrainSpec, WhereSpec
from tradewind.storage import Store
from tradewind.storage.transfer.place import place_of


def plan_for(
    store: Store,
    spec: TrainSpec | ServeSpec,
    catalog: Catalog,
    machine: Machine,
    *,
    data_at: Place | None = None,
    grid: Path | None = None,
    effort_days: Mapping[str, float],
) -> Plan:
    """All offers of the catalogue, and this machine. Raises NoPlanError, or NotFoundError for unknown names."""
    moment = now()
    offers = [own_offer(machine, moment.date()), *catalog.offers()]
    check_limits(spec.where, offers)
    work = training_work(store, spec, data_at=data_at) if isinstance(spec, TrainSpec) else serving_work(store, spec)
    question = Question(
        work,
        limits=spec.where,
        home=data_at or place_of(store),
        measurements=measurements(store),
        chips=catalog.chips,
        effort_days=effort_days,
        signals=read_signals(grid) if grid else {},
        now=moment,
    )
    return make_plan(question, offers)


def check_limits(limits: WhereSpec, offers: Sequence[Offer]) -> None:
    """Raises NotFoundError or SpecError for a cloud, a chip or a country that no offer has, with the nearest name."""
    clouds = {offer.region.cloud for offer in offers}
    for cloud in limits.clouds:
        if cloud not in clouds:
            raise NotFoundError(f"no cloud named {cloud!r}{did_you_mean(cloud, clouds)}")
    for chip in limits.chips:
        if not any(is_chip(offer, (chip,)) for offer in offers):
            names = {offer.chip.name for offer in offers if offer.chip and offer.chip.kind != "cpu"} | {"cpu"}
            raise NotFoundError(f"no chip named {chip!r}{did_you_mean(chip, names)}")
    check_residency(limits.residency, [offer.region for offer in offers])
