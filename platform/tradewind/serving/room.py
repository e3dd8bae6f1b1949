"""What can be wrong with an endpoint before anything starts: names, and room on the machines that there are."""

from __future__ import annotations

from collections.abc import Sequence

from tradewind.clusters import is_local, memory_free
from tradewind.clusters.machine import usable_cpus
from tradewind.engines import ENGINES
from tradewind.engines.formats import format_of_processor
from tradewind.errors import CapacityError
from tradewind.serving.autoscaling import Limits, policy
from tradewind.serving.fit import check_fits, is_sized
from tradewind.serving.hosts import (
    CPU,
    GPU,
    MEMORY,
    Host,
    hosts,
    labels_here,
    seen_chip_bytes,
    suitable,
    wanted_families,
)
from tradewind.serving.markets import need_markets
from tradewind.serving.model_files import ModelFiles
from tradewind.specs import ServeSpec


def check_names(spec: ServeSpec) -> None:
    """Raises NotFoundError with the nearest name for an engine or a policy that there is none of, else SpecError."""
    ENGINES[spec.engine]
    if spec.scaling:
        policy(spec.scaling.policy, Limits.of(spec.scaling))


def check_room(spec: ServeSpec, files: ModelFiles) -> None:
    """Raises CapacityError when no replica could ever start in the Ray that this process is connected to."""
    has_markets = not is_local() and (spec.base or spec.burst == "spot")
    if not (spec.chips or is_sized(spec) or has_markets):
        return
    there = hosts()
    if has_markets:
        need_markets(spec, there)
    if spec.chips:
        need_chips(spec, there)
    check_fits(spec, files, there, bits=format_of_processor().bits if is_local() else None)


def check_this_machine(spec: ServeSpec, files: ModelFiles) -> None:
    """For an endpoint on a Ray of our own that has not started yet. Raises CapacityError."""
    if not spec.chips:
        check_fits(spec, files, [_this_host()], bits=format_of_processor().bits)


def check_here(spec: ServeSpec, files: ModelFiles) -> None:
    """What a replica checks where it was placed, before it fetches a byte. Raises CapacityError."""
    if spec.chips:
        check_fits(spec, files, [Host({GPU: float(spec.chips)}, labels_here(), seen_chip_bytes())])
    else:
        check_fits(spec, files, [_this_host()], bits=format_of_processor().bits)


def need_chips(spec: ServeSpec, hosts: Sequence[Host]) -> None:
    """`hosts` are machines that are there and those that the autoscaler may start.

    Raises CapacityError when a replica's accelerators are not among them.
    """
    right = suitable(spec, hosts)
    room = [host.chips for host in right]
    most, total, wanted = max(room, default=0), sum(room), spec.chips
    kind = " or ".join(wanted_families(spec))
    what = f"{kind} accelerator" if kind else "accelerator"
    needs = f"a replica of {spec.name!r} needs {wanted} {what}{'s' if wanted > 1 else ''}"
    if not total and (others := sorted({host.accelerator or "some of no name" for host in hosts if host.chips})):
        raise CapacityError(
            f"{needs}, and this Ray has {', '.join(others)}", hint="change where.chips, or leave it out"
        )
    if not total:
        hint = "set RAY_ADDRESS to a cluster with some, or serve without: chips_per_replica: 0"
        raise CapacityError(f"{needs}, and this Ray has none and starts no machine that has", hint=hint)
    if spec.parallel.pipeline == 1 and most < wanted:
        hint = "divide the replica over machines: parallel.pipeline"
        raise CapacityError(f"{needs} in one machine, and the largest has {most}", hint=hint)
    if total < wanted:
        hint = "add machines, or divide the replica over fewer chips"
        raise CapacityError(f"{needs}, and all machines together have {total}", hint=hint)


def _this_host() -> Host:
    return Host({CPU: float(usable_cpus()), MEMORY: float(memory_free())})
