"""Ways to do work on one kind of machine: how many of them, how the model lies on their chips, how fast that is."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from tradewind.catalog import Chip, Precision
from tradewind.planner.correction import Corrector, Estimate, Query
from tradewind.planner.fit import serving_memory, trainer_on, training_memory
from tradewind.planner.inequality import Inequality
from tradewind.planner.layout import ServingSetup, TrainingSetup
from tradewind.planner.node import Node
from tradewind.planner.parallel import serving_setups, training_setups
from tradewind.planner.serving_time import ServingRate, replicas_needed, serving_rate
from tradewind.planner.training_time import StepTime, training_step
from tradewind.planner.work import ServingWork, TrainingWork

COUNTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096)
"""How many machines are tried."""


@dataclass(frozen=True)
class Option:
    """So many machines of one kind, one way to use them."""

    machines: int
    machines_range: tuple[int, int, int]
    """At the upper end, in the middle and at the lower end of what one machine is expected to do."""
    chips: int
    """That work, of all machines."""
    setup: TrainingSetup | ServingSetup
    replicas: int
    precision: Precision
    memory_bytes: int
    tokens_per_s: Estimate
    time: StepTime | ServingRate
    idle_share: float
    """Of what is paid for, in which nothing is done: chips left over, and capacity for the busiest hour."""
    why: tuple[str, ...]

    @property
    def is_training(self) -> bool:
        return isinstance(self.setup, TrainingSetup)

    @property
    def busy(self) -> float:
        """Share of the time in which the chips compute, over all machines."""
        return 1.0 - self.idle_share


def training_options(
    work: TrainingWork, node: Node, *, most: int, corrector: Corrector
) -> tuple[list[Option], list[Inequality]]:
    """The fastest way for each number of machines up to `most`, and why there is none where there is none."""
    precision, why = training_precision(node.chip)
    if precision is None:
        return [], [Inequality(f"{node.chip.name} trains in none of bf16, fp16 and fp32, as far as is known")]
    work = replace(work, precision=precision)
    options: list[Option] = []
    lacks: list[Inequality] = []
    for machines in (count for count in COUNTS if count <= most):
        setups, lacking = training_setups(work, node, machines)
        lacks += lacking
        compiled = node.chip.kind != "cpu"
        timed = [(training_step(work, setup, node, machines, compiled=compiled), setup) for setup in setups]
        if not timed:
            continue
        time, setup = min(timed, key=lambda pair: pair[0].total_s)
        options.append(_training_option(work, node, machines, setup, time, corrector, why))
    return options, lacks


def serving_options(
    work: ServingWork, node: Node, *, most: int, corrector: Corrector
) -> tuple[list[Option], list[Inequality]]:
    """Each way to lay out a replica that keeps the bounds, with as many machines as the busiest hour takes."""
    setups, lacks = serving_setups(work, node)
    options: list[Option] = []
    for setup in setups:
        rate = serving_rate(work, setup, node)
        if late := _late(work, rate):
            lacks.append(late)
            continue
        option = _serving_option(work, node, setup, rate, corrector)
        if option.machines > most:
            lacks.append(Inequality("machines", option.machines, most, "machines"))
        else:
            options.append(option)
    return options, lacks


def training_precision(chip: Chip) -> tuple[Precision | None, tuple[str, ...]]:
    """The number format that a chip trains in: bf16 before fp16 before fp32. With the reason where it is not bf16."""
    formats: tuple[Precision, ...] = ("bf16", "fp16", "fp32") if chip.kind != "cpu" else ("fp32",)
    found = next((one for one in formats if one in chip.flops), None)
    if found in (None, "bf16"):
        return found, ()
    return found, (f"{found}: {chip.name} has no faster format that training keeps its accuracy in",)


def _training_option(
    work: TrainingWork,
    node: Node,
    machines: int,
    setup: TrainingSetup,
    time: StepTime,
    corrector: Corrector,
    why: tuple[str, ...],
) -> Option:
    query = Query.of_training(work, setup, node, machines)
    idle = machines * node.chips - setup.layout.chips
    if idle:
        why = (*why, f"{idle} of {machines * node.chips} chips stay idle: nothing divides by all of them")
    return Option(
        machines=machines,
        machines_range=(machines, machines, machines),
        chips=setup.layout.chips,
        setup=setup,
        replicas=0,
        precision=work.precision,
        memory_bytes=training_memory(work, setup, trainer_on(node)).total_bytes,
        tokens_per_s=corrector.estimate(query, time.tokens_per_s),
        time=time,
        idle_share=idle / (machines * node.chips),
        why=why,
    )


def _serving_option(
    work: ServingWork, node: Node, setup: ServingSetup, rate: ServingRate, corrector: Corrector
) -> Option:
    """`rate` is of one replica, at the highest load that keeps the bounds."""
    estimate = corrector.estimate(Query.of_serving(work, setup, node), rate.tokens_per_s)
    speeds = (estimate.high, estimate.value, estimate.low)
    fewest, expected, most = (
        _machines(work, node, setup, replace(rate, requests_per_s=rate.requests_per_s * speed / rate.tokens_per_s))
        for speed in speeds
    )
    replicas = replicas_needed(work, rate)
    capacity = rate.requests_per_s * estimate.value / rate.tokens_per_s * _replicas_of(node, setup, expected)
    asked = work.requests_per_s * (work.tokens_in + work.tokens_out)
    return Option(
        machines=expected,
        machines_range=(fewest, expected, most),
        chips=replicas * setup.layout.chips,
        setup=setup,
        replicas=replicas,
        precision=work.weights,
        memory_bytes=serving_memory(work, setup).total_bytes,
        tokens_per_s=Estimate(asked, asked, asked, estimate.basis),
        time=rate,
        idle_share=max(0.0, 1.0 - work.requests_per_s / capacity),
        why=(),
    )


def _machines(work: ServingWork, node: Node, setup: ServingSetup, rate: ServingRate) -> int:
    """Machines for the busiest hour."""
    chips, replicas = setup.layout.chips, replicas_needed(work, rate)
    if chips > node.chips:
        return replicas * math.ceil(chips / node.chips)
    return math.ceil(replicas / (node.chips // chips))


def _replicas_of(node: Node, setup: ServingSetup, machines: int) -> float:
    """Replicas that so many machines have room for."""
    chips = setup.layout.chips
    return machines * (node.chips // chips) if chips <= node.chips else machines / math.ceil(chips / node.chips)


def _late(work: ServingWork, rate: ServingRate) -> Inequality | None:
    """The bound that a replica breaks even alone."""
    bounds = (("time to the first token", rate.ttft_s, work.ttft_s), ("time between tokens", rate.itl_s, work.itl_s))
    return next((Inequality(what, need, have, "s") for what, need, have in bounds if have and need > have), None)
