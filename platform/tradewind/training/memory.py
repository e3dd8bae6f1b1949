"""Is there enough memory for a run, on this machine or on the chips it names, asked before anything starts.

What is refused is what surely does not fit; what needs more after all is told by the worker that runs out of it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tradewind.catalog import load_catalog
from tradewind.clusters import is_local, memory_free
from tradewind.errors import CapacityError
from tradewind.families import ModelShape, parameters
from tradewind.planner.fit import USABLE_SHARE
from tradewind.specs import TrainSpec
from tradewind.training.job import layout_for, passes_needed
from tradewind.training.memory_policy import Work, kept_bytes, passing_bytes
from tradewind.training.model.chunks import CHUNK_TOKENS
from tradewind.training.smaller import nearest
from tradewind.units import format_bytes

PROCESS_BYTES = 600 * 1024**2
"""Python with torch and Ray in one worker; about 600 MiB resident, measured on Linux with torch 2.13 and Ray 2.60."""
SPARE_BYTES = 300 * 1024**2
"""A process that waits to take a lost worker's place, see `driving/spares.py`; as above."""
RAY_BYTES = 1536 * 1024**2
"""Ray's own processes and Ray Train's controller, as above: about 1.6 GiB resident, of which some is shared."""
FLOAT_BYTES = 4
MASTER_BYTES = {"float32": 4, "bfloat16": 2}
NVIDIA = Path("/dev/nvidia0")
NO_MEMORY = ("not enough memory", "can't allocate memory")
"""What torch's allocator for processors says, in a RuntimeError."""


@dataclass(frozen=True)
class Room:
    """Memory that a run must fit into: `has_bytes` of it, `where`."""

    where: str
    has_bytes: int
    need: Callable[[TrainSpec, ModelShape], int]
    of_chip: bool

    def fits(self, spec: TrainSpec, shape: ModelShape) -> bool:
        return self.need(spec, shape) <= self.has_bytes


def check_memory(spec: TrainSpec, shape: ModelShape) -> None:
    """Raises CapacityError where memory is less than a run is estimated to need: by how much, and what would fit."""
    for room in _rooms(spec):
        if not room.fits(spec, shape):
            raise _too_little(room, spec, shape)


def need_bytes(spec: TrainSpec, shape: ModelShape) -> int:
    """An upper estimate of the memory of all workers on one machine, in bytes. All numbers are float32.

    Weights, gradients and AdamW's two moments are sharded; each worker also gathers whole weights and gradients. The
    activations of a block are about 14 hidden + 3 ffn floats a token; of blocks that run again, one token's input
    stays. Of logits there is one part at a time, with its softmax and gradient: five vocabularies a token, counted in
    `model/loss.py`.
    """
    state = (4 + 2 * spec.workers) * parameters(shape)
    tokens = _sequences_at_once(spec) * _readers(spec) * spec.batch.tokens_per_sequence
    block = 14 * shape.hidden + 3 * shape.ffn
    again = spec.activations in ("selective", "full")
    activations = tokens * (block + shape.layers * shape.hidden if again else block * shape.layers)
    logits = min(tokens, spec.workers * CHUNK_TOKENS) * 5 * shape.vocabulary
    processes = spec.workers * (PROCESS_BYTES + SPARE_BYTES)
    return RAY_BYTES + processes + FLOAT_BYTES * (state + activations + logits)


def chip_need_bytes(spec: TrainSpec, shape: ModelShape) -> int:
    """A lower estimate of one chip's memory: its part of weights and AdamW's moments, and the fuller of two moments.

    At the loss all that blocks keep is there, at the update a gradient for each weight. Adapters' own are left out.
    """
    layout = layout_for(spec, shape, spec.workers)
    each = MASTER_BYTES[spec.precision.masters]
    parts = layout.tensor * layout.pipeline * (layout.shard if layout.zero else 1)
    part = parameters(shape) // parts
    if spec.lora:
        return part * each + _activations(spec, shape)
    return 3 * part * each + max(_activations(spec, shape), part * each)


def _activations(spec: TrainSpec, shape: ModelShape) -> int:
    wish = spec.parallel
    work = Work(
        shape=shape,
        layers=shape.layers,
        tokens=_sequences_at_once(spec) * spec.batch.tokens_per_sequence // (wish.tensor * wish.context),
        fused=shape.latent is None and shape.experts is None,
        float8=spec.precision.compute == "float8",
    )
    return kept_bytes(work, "full" if spec.activations == "auto" else spec.activations) + passing_bytes(work)


@contextlib.contextmanager
def shortage_told(spec: TrainSpec) -> Iterator[None]:
    """Makes a CapacityError of what a worker raises that has no memory left."""
    import torch

    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as exc:
        raise _ran_out(spec, exc) from exc
    except RuntimeError as exc:
        if not any(words in str(exc) for words in NO_MEMORY):
            raise
        raise _ran_out(spec, exc) from exc


def _ran_out(spec: TrainSpec, exc: Exception) -> CapacityError:
    said = str(exc).partition("\n")[0].partition(". GPU")[0] or type(exc).__name__
    smaller = [f"batch.sequences_per_pass: {n // 2}" for n in [_sequences_at_once(spec)] if n > 1]
    smaller += ["activations: full"] if spec.activations != "full" else []
    return CapacityError(
        f"a worker ran out of memory: {said}",
        hint=f"write {' or '.join(smaller)}" if smaller else "take more workers, or chips with more memory",
    )


def _rooms(spec: TrainSpec) -> Iterator[Room]:
    named = [chip for chip in load_catalog().chips.values() if _is_named(chip.name, spec)]
    known = [chip for chip in named if chip.memory_bytes]
    if known:
        chip = max(known, key=lambda one: one.memory_bytes or 0)
        usable = int((chip.memory_bytes or 0) * USABLE_SHARE)
        yield Room(f"may be used of one {chip.name}", usable, chip_need_bytes, of_chip=True)
    if is_local():
        yield _here() if NVIDIA.exists() and not _wants_processors(spec) else _host()


def _host() -> Room:
    return Room("are free here", memory_free(), need_bytes, of_chip=False)


def _here() -> Room:
    """The first of this machine's chips."""
    import torch

    if not torch.cuda.is_available():
        return _host()
    chip = torch.cuda.get_device_properties(0)
    return Room(f"may be used of one {chip.name}", int(chip.total_memory * USABLE_SHARE), chip_need_bytes, of_chip=True)


def _is_named(chip: str, spec: TrainSpec) -> bool:
    names = [name.lower() for name in spec.where.chips]
    return any(chip.lower() == name or chip.lower().startswith(f"{name}-") for name in names)


def _wants_processors(spec: TrainSpec) -> bool:
    return {name.lower() for name in spec.where.chips} == {"cpu"}


def _too_little(room: Room, spec: TrainSpec, shape: ModelShape) -> CapacityError:
    need = room.need(spec, shape)
    what = "of each chip's memory" if room.of_chip else "of memory"
    return CapacityError(
        f"run {spec.name!r} needs about {format_bytes(need)} {what}, and {format_bytes(room.has_bytes)} {room.where}: "
        f"{format_bytes(need - room.has_bytes)} too little",
        hint=_hint(room, nearest(spec, shape, room.fits, more_workers=room.of_chip)),
    )


def _hint(room: Room, changes: Mapping[str, object] | None) -> str:
    if changes is None:
        return "no smaller batch of it fits: take a smaller model, or ask `tw plan` which machines have the memory"
    words = ", ".join(f"{name.replace('__', '.')}: {value}" for name, value in changes.items())
    where = "other chips have more" if room.of_chip else "other machines have more"
    return f"it fits with {words}; {where}: tw plan"


def _readers(spec: TrainSpec) -> int:
    """Workers that read different sequences."""
    wish = spec.parallel
    return max(1, spec.workers // (wish.tensor * wish.pipeline * wish.context))


def _sequences_at_once(spec: TrainSpec) -> int:
    """Sequences of one pass of one reader; in a pipeline, those that are under way at once."""
    rows = -(-spec.batch.sequences // _readers(spec))
    at_once = min(rows, spec.batch.sequences_per_pass or rows)
    if spec.parallel.pipeline == 1:
        return at_once
    passes = passes_needed(sequences=rows, readers=1, at_once=spec.batch.sequences_per_pass or 1)
    return min(rows, (spec.batch.sequences_per_pass or 1) * min(passes, spec.parallel.pipeline))
