"""How a model may lie on the chips of some equal machines, in training and in serving: candidates that fit.

Which of them is fastest, says the throughput model.
"""

from __future__ import annotations

from collections.abc import Sequence

from tradewind.errors import SpecError
from tradewind.planner.axes import replica_layouts
from tradewind.planner.batches import divisors
from tradewind.planner.fit import computes, fits, most_sequences, serving_memory, training_memory, usable_bytes
from tradewind.planner.inequality import Inequality
from tradewind.planner.layout import Layout, ServingSetup, TrainingSetup
from tradewind.planner.node import Node
from tradewind.planner.search import search
from tradewind.planner.trainer import ON_PROCESSORS
from tradewind.planner.work import ServingWork, TrainingWork

MOST_SERVING_SETUPS = 8
IN_FLIGHT = 256
"""Sequences that a server works on at a time, at most; vLLM's default."""
FEW_IN_FLIGHT = 32
"""With fewer, most of the time goes into reading weights: such a replica is for those who have no larger one."""


def training_setups(work: TrainingWork, node: Node, nodes: int) -> tuple[list[TrainingSetup], list[Inequality]]:
    """Setups that fit on so many machines, and what was too much for those that do not.

    They use all chips where the batch divides over them, else the largest number of chips over which it does. The
    setups of one number of chips are ordered from the simplest on.
    """
    usable = usable_bytes(node)
    if not usable:
        return [], [Inequality(f"the memory of a {node.chip.name} is not known")]
    if node.chip.kind == "cpu":
        return _on_processors(work, node, nodes)
    setups, least = search(work).setups(max(1, node.chips), nodes, usable)
    if setups:
        return list(setups), []
    if least is None:
        most = nodes * max(1, node.chips)
        return [], [Inequality(f"no way to divide {work.sequences} sequences and the model over {most} chips")]
    return [], [Inequality(f"memory of a {node.chip.name}", least / 2**30, usable / 2**30, "GiB")]


def serving_setups(work: ServingWork, node: Node) -> tuple[list[ServingSetup], list[Inequality]]:
    """Layouts of one replica with what each holds in flight, the smallest first, and what was too much where none is.

    A replica takes some chips of one machine, or the chips of several whole machines as stages of a pipeline.
    """
    if not computes(node, work.weights):
        return [], [Inequality(f"{node.chip.name} has no products in {work.weights}, as far as the catalogue knows")]
    usable = usable_bytes(node)
    if not usable:
        return [], [Inequality(f"the memory of a {node.chip.name} is not known")]
    layouts = list(replica_layouts(work.shape, 1 if node.chip.kind == "cpu" else max(1, node.chips)))
    held = [(layout, most_sequences(work, layout, usable)) for layout in layouts]
    roomy = [(layout, count) for layout, count in held if count >= FEW_IN_FLIGHT] or [one for one in held if one[1]]
    if not roomy:
        needs = (serving_memory(work, ServingSetup(layout, layout.expert)) for layout in layouts)
        lack = fits(min(needs, key=lambda memory: memory.total_bytes), node)
        return [], [lack] if lack else []
    within = [pair for pair in roomy if pair[0].pipeline == 1] or roomy[:2]
    return [ServingSetup(layout, min(count, IN_FLIGHT)) for layout, count in within[:MOST_SERVING_SETUPS]], []


def check_one_kind(nodes: Sequence[Node]) -> None:
    """Raises SpecError for machines that cannot share one collective: chips of two vendors, or of two kinds.

    Groups that train together have equal shares of each step, so the slowest chip sets the pace of all. Replicas that
    serve do not talk to each other, and each may be on chips of its own.
    """
    vendors, chips = {node.chip.vendor for node in nodes}, {node.chip.name for node in nodes}
    if len(vendors) > 1:
        raise SpecError(
            f"{' and '.join(sorted(vendors))} chips cannot be in one group: no library of collectives speaks to both",
            hint="plan each vendor by itself",
        )
    if len(chips) > 1:
        raise SpecError(
            f"{' and '.join(sorted(chips))} in one group would wait for the slower one at every step",
            hint="train on one kind of chip; to serve, give each kind replicas of its own",
        )


def _on_processors(work: TrainingWork, node: Node, nodes: int) -> tuple[list[TrainingSetup], list[Inequality]]:
    """One worker's share on each machine, in one pass: what `training/worker.py` does."""
    workers = max(size for size in divisors(work.sequences) if size <= nodes)
    setup = TrainingSetup(Layout(shard=workers), work.sequences // workers, 1)
    lack = fits(training_memory(work, setup, ON_PROCESSORS), node)
    return ([], [lack]) if lack else ([setup], [])
