"""Is there enough memory on this machine for a run, asked before anything starts."""

from __future__ import annotations

from tradewind.clusters import memory_free
from tradewind.errors import CapacityError
from tradewind.families import ModelShape, parameters
from tradewind.specs import TrainSpec
from tradewind.training.model.chunks import CHUNK_TOKENS
from tradewind.units import format_bytes

PROCESS_BYTES = 600 * 1024**2
"""Python with torch and Ray in one worker; about 600 MiB resident, measured on Linux with torch 2.13 and Ray 2.60."""
SPARE_BYTES = 300 * 1024**2
"""A process that waits to take a lost worker's place, see `driving/spares.py`; as above."""
RAY_BYTES = 1536 * 1024**2
"""Ray's own processes and Ray Train's controller, as above: about 1.6 GiB resident, of which some is shared."""
FLOAT_BYTES = 4


def need_bytes(spec: TrainSpec, shape: ModelShape) -> int:
    """An upper estimate of the memory of all workers on one machine, in bytes. All numbers are float32.

    Weights, gradients and AdamW's two moments are sharded; each worker also gathers whole weights and gradients. The
    activations of a block are about 14 hidden + 3 ffn floats a token. Of logits there is one part at a time, with its
    softmax and gradient: five vocabularies a token, counted in `model/loss.py`.
    """
    state = (4 + 2 * spec.workers) * parameters(shape)
    tokens = spec.batch.sequences * spec.batch.tokens_per_sequence
    activations = tokens * shape.layers * (14 * shape.hidden + 3 * shape.ffn)
    logits = min(tokens, spec.workers * CHUNK_TOKENS) * 5 * shape.vocabulary
    processes = spec.workers * (PROCESS_BYTES + SPARE_BYTES)
    return RAY_BYTES + processes + FLOAT_BYTES * (state + activations + logits)


def check_memory(spec: TrainSpec, shape: ModelShape) -> None:
    """Raises CapacityError when this machine has less free memory than the run is estimated to need."""
    need, free = need_bytes(spec, shape), memory_free()
    if need > free:
        raise CapacityError(
            f"run {spec.name!r} needs about {format_bytes(need)} of memory, and {format_bytes(free)} are free here",
            hint="take fewer batch.sequences, fewer workers or a smaller model, or a larger machine",
        )
