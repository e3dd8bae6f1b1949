"""Whether a model fits the chips that a replica would have: by how much it does not, and what would.

The memory is the planner's estimate for one sequence in flight, since both engines let further ones wait when their
cache is full. Estimated; what an engine alone decides, like moving weights to the processor, is left to the engine.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from tradewind.catalog import load_catalog
from tradewind.catalog.chip import BITS, Precision
from tradewind.engines.transformers import PROMPT_TOKENS
from tradewind.errors import CapacityError, IntegrityError, SpecError
from tradewind.families import ModelShape, from_hugging_face
from tradewind.planner.axes import tensor_sizes
from tradewind.planner.fit import PREFILL_TOKENS, USABLE_SHARE, serving_memory
from tradewind.planner.layout import Layout, ServingSetup
from tradewind.planner.memory import Memory
from tradewind.planner.work import ServingWork
from tradewind.serving.hosts import MEMORY, Host, suitable
from tradewind.serving.model_files import ModelFiles
from tradewind.specs import ServeSpec
from tradewind.units import format_bytes

WITHOUT_WEIGHTS = frozenset({"echo", "predict"})
UNSIZED = frozenset({"cpu_offload_gb", "hf_overrides", "kv_offloading_size", "quantization"})
"""Arguments of vLLM with which a model takes other memory than its sizes say."""
FORMATS: dict[str, Precision] = {"float32": "fp32", "bfloat16": "bf16", "float8": "fp8"}
TOKEN_STEP = 1024


@dataclass(frozen=True)
class Model:
    """What decides about memory. `weights_bytes` are those of the files, for a model of no known family."""

    shape: ModelShape | None
    weights_bytes: int
    is_quantised: bool = False
    """Its files hold fewer bits than 16 for each weight."""

    @classmethod
    def of(cls, files: ModelFiles) -> Model:
        """Raises IntegrityError for a `config.json` that is none."""
        if not files.has_config:
            return cls(None, files.weights_bytes)
        try:
            config = json.loads(files.config())
        except ValueError as exc:
            raise IntegrityError(
                f"config.json of {files.reference} cannot be read: {exc}", hint="export it again"
            ) from exc
        config = config if isinstance(config, dict) else {}
        return cls(_shape(config), files.weights_bytes, "quantization_config" in config)


@dataclass(frozen=True)
class Room:
    """What a replica may use of one chip, or of the processors' memory."""

    what: str
    usable_bytes: float
    chips: int
    """Of the machine."""


def _shape(config: dict[str, Any]) -> ModelShape | None:
    try:
        return from_hugging_face(config)
    except SpecError:
        return None  # of a family whose sizes are not known here: its files say how large it is


def check_fits(spec: ServeSpec, files: ModelFiles, hosts: Sequence[Host], *, bits: int | None = None) -> None:
    """Raises CapacityError when a replica fits none of the machines, as far as their memory is known.

    `bits` are those of `precision: auto` on the processor where that is known; else the fewest are assumed.
    """
    if is_sized(spec):
        need_memory(spec, Model.of(files), hosts, bits=bits)


def is_sized(spec: ServeSpec) -> bool:
    """Whether a model's sizes tell what its replica takes."""
    return not spec.targets and spec.engine not in WITHOUT_WEIGHTS and not UNSIZED & spec.engine_settings.keys()


def need_memory(spec: ServeSpec, model: Model, hosts: Sequence[Host], *, bits: int | None = None) -> None:
    """As `check_fits`, for a model whose sizes are known."""
    rooms = [room for host in suitable(spec, hosts) if (room := room_of(spec, host))]
    if not rooms or any(room is UNKNOWN for room in rooms):
        return
    best = max(rooms, key=lambda room: room.usable_bytes)
    needed = memory_of(spec, model, bits=bits)
    if needed.total_bytes <= best.usable_bytes:
        return
    parts = ", ".join(f"{name} {format_bytes(size)}" for name, size in needed.parts().items())
    each = "of each chip" if spec.parallel.chips > 1 else "of memory"
    raise CapacityError(
        f"{spec.model} does not fit: a replica of {spec.name!r} needs {format_bytes(needed.total_bytes)} {each} "
        f"({parts}), and {best.what} has {format_bytes(best.usable_bytes)} to use: "
        f"{format_bytes(needed.total_bytes - best.usable_bytes)} too little",
        hint="what would fit: " + "; or ".join(remedies(spec, model, best, needed, bits=bits)),
    )


UNKNOWN = Room("", math.inf, 0)


def room_of(spec: ServeSpec, host: Host) -> Room | None:
    """What a replica could use there. None for a machine with too few chips, UNKNOWN where nothing tells."""
    if not spec.chips:
        memory = host.resources.get(MEMORY)
        return Room("the machine", memory, 0) if memory else UNKNOWN
    if not host.chips or (spec.parallel.pipeline == 1 and host.chips < spec.chips):
        return None
    chip = host.chip()
    nominal = host.seen_bytes or (chip.memory_bytes if chip else None)
    if not nominal:
        return UNKNOWN
    what = f"{_article(chip.name)} {chip.name}" if chip else "the chip"
    return Room(what, nominal * float(spec.engine_settings.get("gpu_memory_utilization", USABLE_SHARE)), host.chips)


def _article(word: str) -> str:
    return "an" if word[0] in "AHL" else "a"


def memory_of(
    spec: ServeSpec,
    model: Model,
    *,
    tensor: int | None = None,
    tokens: int | None = None,
    precision: Precision | None = None,
    bits: int | None = None,
) -> Memory:
    """One chip's memory with one sequence of the spec's in flight; the named sizes instead of the spec's."""
    layout = Layout(tensor=tensor or spec.parallel.tensor, pipeline=spec.parallel.pipeline)
    if model.shape is None:
        return Memory("serving", weights=model.weights_bytes / layout.chips)
    work = ServingWork(
        shape=model.shape,
        requests_per_s=1.0,
        peak_factor=1.0,
        tokens_in=tokens or sequence_tokens(spec, model.shape),
        tokens_out=0,
        hours=1.0,
        weights=precision or weights_precision(spec, bits),
        cache="fp8" if str(spec.engine_settings.get("kv_cache_dtype", "")).startswith("fp8") else "bf16",
    )
    memory = serving_memory(work, ServingSetup(layout, 1))
    if model.is_quantised:
        memory = replace(memory, weights=model.weights_bytes / layout.chips)
    return memory if spec.chips else _on_processors(spec, memory)


def _on_processors(spec: ServeSpec, memory: Memory) -> Memory:
    """No device holds a context of its own, and fewer tokens of prompts are read at a time."""
    return replace(memory, framework=0.0, activations=memory.activations * PROMPT_TOKENS[spec.profile] / PREFILL_TOKENS)


def sequence_tokens(spec: ServeSpec, shape: ModelShape) -> int:
    """Tokens that must have room: vLLM starts only where one sequence of its full length has; others let it grow."""
    if spec.engine == "vllm" and spec.chips:
        longest = spec.engine_settings.get("max_model_len") or shape.context
        return longest if isinstance(longest, int) and longest > 0 else 1  # "auto" and -1: as long as has room
    return min(spec.traffic.tokens_in + spec.traffic.tokens_out, shape.context)


def weights_precision(spec: ServeSpec, bits: int | None = None) -> Precision:
    """Of the weights as they are loaded: `transformers` makes them smaller only then."""
    if spec.precision == "int8":
        return "fp32" if spec.engine == "transformers" else "int8"
    if spec.precision == "auto":
        return "fp32" if bits == BITS["fp32"] and not spec.chips else "bf16"
    return FORMATS[spec.precision]


def remedies(spec: ServeSpec, model: Model, room: Room, needed: Memory, *, bits: int | None = None) -> Iterator[str]:
    """What to change so that it fits, the nearest first."""
    if spec.chips and spec.engine == "vllm" and model.shape:
        yield from _settings(spec, model.shape, model, room)
    if spec.chips:
        yield _larger_chip(needed.total_bytes)
    else:
        if weights_precision(spec, bits) == "fp32" and model.shape:
            smaller = memory_of(spec, model, precision="bf16").total_bytes
            if smaller <= room.usable_bytes and spec.precision != "int8":
                yield f"precision: bfloat16 ({format_bytes(smaller)})"
        yield f"a machine with {format_bytes(needed.total_bytes)} of free memory; or accelerators: chips_per_replica"


def _settings(spec: ServeSpec, shape: ModelShape, model: Model, room: Room) -> Iterator[str]:
    for tensor in tensor_sizes(shape, room.chips):
        if tensor > spec.parallel.tensor and memory_of(spec, model, tensor=tensor).total_bytes <= room.usable_bytes:
            yield f"parallel.tensor: {tensor}"
            break
    if tokens := _longest(spec, model, room):
        yield f"engine_settings: {{max_model_len: {tokens}}}"
    if spec.precision == "auto" and not model.is_quantised:
        smaller = memory_of(spec, model, precision="fp8").total_bytes
        if smaller <= room.usable_bytes:
            yield f"precision: float8 ({format_bytes(smaller)}; it changes the weights)"


def _longest(spec: ServeSpec, model: Model, room: Room) -> int:
    """The most tokens of one sequence that fit beside the rest, in steps of 1024; 0 where not even one step does."""
    assert model.shape
    least = memory_of(spec, model, tokens=TOKEN_STEP)
    if least.total_bytes > room.usable_bytes:
        return 0
    each = least.cache / TOKEN_STEP
    return TOKEN_STEP * int((room.usable_bytes - least.total_bytes + least.cache) / each / TOKEN_STEP)


def _larger_chip(needed_bytes: int) -> str:
    """The smallest chip of the catalogue with so much to use."""
    chips = (chip for chip in load_catalog().chips.values() if chip.kind == "gpu" and chip.memory_bytes)
    roomy = [chip for chip in chips if cast(int, chip.memory_bytes) * USABLE_SHARE >= needed_bytes]
    if not roomy:
        return "more chips for each replica: parallel.tensor with the vllm engine"
    least = min(roomy, key=lambda chip: cast(int, chip.memory_bytes))
    return f"a chip with {format_bytes(needed_bytes / USABLE_SHARE)} or more, like {least.name}"
