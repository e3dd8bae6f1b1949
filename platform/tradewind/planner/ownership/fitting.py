"""Does a model fit on the machine that is to be bought? Asked first: the price of what cannot work means nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tradewind.catalog import Catalog, Chip, Precision
from tradewind.families import known_model
from tradewind.planner.fit import fit_table
from tradewind.planner.node import Node

PRECISIONS: tuple[Precision, ...] = ("bf16", "fp8", "int8", "int4")
"""Of weights, the widest first."""

WHOLE: tuple[Precision, ...] = ("bf16", "fp8")
"""What models are published in; the others lose something."""

TOKENS = 4096


@dataclass(frozen=True)
class Fit:
    """What one machine serves of a model, `estimated`."""

    model: str
    machine: str
    """Like `8 × A100-SXM-80GB`."""
    sequences: dict[Precision, int | None]
    """In flight at a time, of 4096 tokens, by the precision of weights; None where it cannot."""
    nearest: tuple[str, ...]
    """What would fit; nothing where it fits as it is published."""

    @property
    def fits(self) -> bool:
        """Whether it does in a precision that models are published in."""
        return any(self.sequences[precision] for precision in WHOLE)

    def __str__(self) -> str:
        served = [precision for precision in PRECISIONS if self.sequences[precision]]
        if self.fits:
            return f"{self.model} fits on {self.machine}, with weights in {', '.join(served)}"
        instead = f"; nearest: {' or '.join(self.nearest)}" if self.nearest else ""
        return f"{self.model} does not fit on {self.machine} in bf16 or fp8{instead}"


def fit(catalog: Catalog, model: str, chip: Chip, *, chips: int) -> Fit:
    """Raises NotFoundError for a model that is not known by name."""
    sequences = _sequences(model, chip, chips)
    served = [precision for precision in PRECISIONS if sequences[precision]]
    here = [f"{served[0]} weights on it"] if served else []
    whole = any(sequences[precision] for precision in WHOLE)
    nearest = () if whole else (*here, *_machines(catalog, model))
    return Fit(model, f"{chips} × {chip.name}", sequences, tuple(nearest))


def _sequences(model: str, chip: Chip, chips: int) -> dict[Precision, int | None]:
    shapes, nodes = {model: known_model(model)}, {chip.name: _node(chip, chips)}
    return {
        precision: fit_table(shapes, nodes, weights=precision, tokens=TOKENS)[model, chip.name]
        for precision in PRECISIONS
    }


def _machines(catalog: Catalog, model: str) -> Iterator[str]:
    """The machine with the least memory that serves the model as it is published, if there is one."""
    kinds = {(one.chip, one.chips) for one in catalog.instances.values() if one.chip and one.chips}
    memory = {kind: (catalog.chip(kind[0]).memory_bytes or 0) * kind[1] for kind in kinds}
    for name, chips in sorted(kinds, key=lambda kind: (memory[kind], kind)):
        sequences = _sequences(model, catalog.chip(name), chips)
        precision = next((one for one in WHOLE if sequences[one]), None)
        if precision:
            yield f"{chips} × {name} in {precision}"
            return


def _node(chip: Chip, chips: int) -> Node:
    return Node(chip, chips, memory_bytes=None, network_bytes_per_s=None, rdma=False)
