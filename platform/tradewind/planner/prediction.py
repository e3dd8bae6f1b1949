"""What a run will take, said before it begins, and what it has taught when it has ended."""

from __future__ import annotations

from dataclasses import asdict

from tradewind.planner.choice.kinds import node_of
from tradewind.planner.choice.options import Option, training_options
from tradewind.planner.choice.question import OWN_START_S
from tradewind.planner.correction import Corrector
from tradewind.planner.layout import TrainingSetup
from tradewind.planner.measurements import measurements
from tradewind.planner.own_machine import own_chip, own_offer
from tradewind.planner.wish import training_work
from tradewind.planner.work import TrainingWork
from tradewind.records import Interval, Machine, Measurement, Placement, Prediction, RunEnd, RunStart, now
from tradewind.specs import TrainSpec
from tradewind.storage import Store

LEAST_STEPS = 10
"""A run of fewer steps is mostly warm-up, and teaches nothing."""


def predict(store: Store, spec: TrainSpec, machine: Machine) -> Prediction | None:
    """What a run on this machine will take; None where nothing can be said, since the model does not fit."""
    work = training_work(store, spec)
    node = node_of(own_offer(machine, now().date()))
    corrector = Corrector(measurements(store))
    options, _ = training_options(work, node, most=1, corrector=corrector)
    return _of_option(work, options[0], machine) if options else None


def of_placement(placement: Placement, *, plan: str | None = None) -> Prediction:
    """What the plan said that a run takes."""
    seconds = placement.hours.times(3600)
    return Prediction(
        seconds=seconds,
        tokens=placement.tokens_per_s.value * seconds.value,
        usd=placement.cost_usd,
        energy_wh=None if placement.energy_kwh is None else placement.energy_kwh * 1000,
        tokens_per_s=placement.tokens_per_s,
        estimated_tokens_per_s=placement.estimated_tokens_per_s,
        basis=placement.basis,
        chip=placement.chip,
        chips_per_node=placement.chips // placement.machines,
        nodes=placement.machines,
        layout=placement.layout,
        precision=placement.precision,
        recompute=placement.recompute,
        plan=plan,
        offer=placement.offer,
    )


def taught(store: Store, start: RunStart, end: RunEnd) -> Measurement | None:
    """The measurement that a run is, for the next prediction; None for one too short, or that nobody foresaw."""
    said = start.prediction
    if said is None or end.steps < LEAST_STEPS or not end.tokens_per_s:
        return None
    spec = TrainSpec.of(**start.spec)
    work = training_work(store, spec)
    return Measurement(
        measurement_id=start.run,
        work="training",
        chip=said.chip,
        chips_per_node=said.chips_per_node,
        nodes=said.nodes,
        shape=asdict(work.shape),
        layout=said.layout,
        precision=said.precision,
        tokens_per_sequence=work.tokens_per_sequence,
        sequences=work.sequences,
        recompute=said.recompute,
        tokens_per_s=end.tokens_per_s,
        predicted_tokens_per_s=said.estimated_tokens_per_s,
        source=start.id,
        parents=(start.id,),
    )


def _of_option(work: TrainingWork, option: Option, machine: Machine) -> Prediction:
    speed = option.tokens_per_s
    assert isinstance(option.setup, TrainingSetup)
    longest = work.longest_s or float("inf")
    low, value, high = (min(longest, work.tokens / rate) + OWN_START_S for rate in (speed.high, speed.value, speed.low))
    seconds = Interval(low=low, value=value, high=high)
    return Prediction(
        seconds=seconds,
        tokens=min(work.tokens, speed.value * longest),
        usd=seconds.times(machine.usd_per_hour / 3600),
        energy_wh=None,
        tokens_per_s=Interval(low=speed.low, value=speed.value, high=speed.high),
        estimated_tokens_per_s=option.time.tokens_per_s,
        basis=speed.basis,
        chip=own_chip(machine),
        chips_per_node=1,
        nodes=1,
        layout={},
        precision=option.precision,
        recompute=option.setup.recompute,
    )
