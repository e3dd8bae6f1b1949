"""Offers of equal machines as one kind: what a machine can do does not depend on where it stands and what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tradewind.catalog import Offer
from tradewind.planner.inequality import Inequality
from tradewind.planner.node import Node
from tradewind.planner.processor import processor_chip


@dataclass(frozen=True)
class Kind:
    node: Node
    offers: tuple[int, ...]
    """Their numbers in the list that was given."""


def kinds(offers: Sequence[Offer]) -> tuple[list[Kind], dict[int, Inequality]]:
    """The kinds of machines among the offers, and why some offers are of none."""
    found: dict[tuple[object, ...], tuple[Node, list[int]]] = {}
    unknown: dict[int, Inequality] = {}
    for number, offer in enumerate(offers):
        instance = offer.instance
        if offer.chip is not None and (lack := _lack(offer)):
            unknown[number] = lack
            continue
        computes = (instance.chip, offer.chips) if offer.chip else (instance.vcpus, instance.memory_bytes)
        key = (*computes, instance.network_bytes_per_s, instance.rdma)
        if key not in found:
            found[key] = node_of(offer), []
        found[key][1].append(number)
    return [Kind(node, tuple(numbers)) for node, numbers in found.values()], unknown


def node_of(offer: Offer) -> Node:
    """The machine of an offer; one without accelerators computes on its processors."""
    instance = offer.instance
    return Node(
        chip=offer.chip or processor_chip(instance.vcpus or 1.0, instance.memory_bytes),
        chips=offer.chips if offer.chip else 1,
        memory_bytes=instance.memory_bytes,
        network_bytes_per_s=instance.network_bytes_per_s,
        rdma=instance.rdma not in ("", "no"),
    )


def _lack(offer: Offer) -> Inequality | None:
    """The figure without which nothing can be said about an offer's accelerator."""
    chip = offer.chip
    assert chip is not None
    if not offer.chips:
        return Inequality(f"{offer.instance.name} has no whole {chip.name}")
    figures = {"memory": chip.memory_bytes, "memory bandwidth": chip.memory_bytes_per_s, "speed": chip.flops or None}
    missing = [name for name, figure in figures.items() if figure is None]
    return Inequality(f"the catalogue has no {missing[0]} of {chip.name}") if missing else None
