"""Weights in and out of Hugging Face's files, tensor by tensor: no process holds a model that is sharded over many.

Each rank reads only the rows that it holds of a parameter. Writing gathers one parameter at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from tradewind.errors import SpecError
from tradewind.families import ModelShape
from tradewind.storage import Store, open_store
from tradewind.training.model import Decoder
from tradewind.training.model.experts import Router
from tradewind.training.model.lora import ADAPTER, merged
from tradewind.training.model.places import Place, places, places_among
from tradewind.training.model.shards import local_part
from tradewind.training.tensor_file import PlannedTensor, StoredTensor, open_tensors, plan_files, write_files

Source: TypeAlias = str | Path | Store
"""A folder, the URL of one on any store, or a store whose root it is."""

MAX_SHARD_BYTES = 5 * 10**9
"""Of one file, as transformers has it."""
FP8_BLOCK = 128
"""Side of the squares of weights that share a scale (DeepSeek-V3, section 3.3.2)."""
NOT_NEEDED = ("rotary_emb.inv_freq", "_scale_inv")
"""Tensors that files may hold and that are worked out or read with others."""


def tensors(source: Source) -> Iterator[tuple[str, Tensor]]:
    """All tensors by the files' own names, one in memory at a time. Raises NotFoundError, IntegrityError."""
    for name, stored in open_tensors(_store(source)).items():
        yield name, stored.read()


@torch.no_grad()
def load_into(model: nn.Module, source: Source) -> None:
    """Fill a decoder, or a stage of one, that is on its device, sharded or not; adapters are left as they are.

    Every rank reads by itself, only what it holds; there is no collective. Weights of other types are converted, and
    those in FP8 with scales for blocks of 128 by 128 are multiplied out. Raises NotFoundError, IntegrityError, and
    SpecError where the files are those of another model.
    """
    files = open_tensors(_store(source))
    if isinstance(model, Decoder):
        _check_names(model.shape, files)
    for module in model.modules():
        if isinstance(module, Router):
            module.visits.zero_()
    for name, weight in model.state_dict().items():
        if ADAPTER not in name:
            for place in places_among(name, tuple(weight.shape), files):
                _fill(weight, place, files)


def _check_names(shape: ModelShape, files: Mapping[str, StoredTensor]) -> None:
    """Raises SpecError for tensors that the model has no place for, which would be dropped in silence."""
    known = {place.name for name, size in _parameters(shape) for place in places_among(name, size, files)}
    extra_layers = tuple(f"model.layers.{number}." for number in range(shape.layers, shape.layers + 8))
    # layers after the last predict further tokens (DeepSeek-V3, section 2.2); a tied head may stand there twice
    tolerated = (*extra_layers, "lm_head.weight" if shape.tied else "model.embed_tokens.weight")
    unknown = [name for name in files if name not in known and not name.startswith(tolerated)]
    if strange := [name for name in unknown if not name.endswith(NOT_NEEDED)]:
        raise SpecError(
            f"the files hold {strange[0]} and {len(strange) - 1} more tensors that the model has no place for",
            hint="take the shape from the config.json beside the files",
        )


def _fill(weight: Tensor, place: Place, files: Mapping[str, StoredTensor]) -> None:
    """Copy what a tensor of the files and this rank's part of a parameter have in common."""
    stored = files.get(place.name)
    if stored is None:
        raise SpecError(f"the files lack {place.name}", hint="take the shape from the config.json beside the files")
    if stored.shape != place.shape:
        raise SpecError(f"{place.name} is {list(stored.shape)} in the files and {list(place.shape)} in the model")
    local, offsets = local_part(weight)
    if not local.numel():
        return
    low = [max(mine, its) for mine, its in zip(offsets, place.offset, strict=True)]
    high = [
        min(mine + size, its + its_size)
        for mine, size, its, its_size in zip(offsets, local.shape, place.offset, place.size, strict=True)
    ]
    if any(first >= end for first, end in zip(low, high, strict=True)):
        return
    inside = local[tuple(slice(first - mine, end - mine) for first, end, mine in zip(low, high, offsets, strict=True))]
    wanted = [slice(first - its, end - its) for first, end, its in zip(low, high, place.offset, strict=True)]
    if len(place.shape) < len(place.size):
        inside, wanted = inside[0], wanted[1:]
    rows, *others = wanted
    scales = _scales(place.name, files)
    for first, part in stored.rows(rows.start, rows.stop):
        whole = part if scales is None else _multiplied_out(part, first, scales)
        start = first - rows.start
        inside[start : start + len(part)].copy_(whole[(slice(None), *others)])


def _scales(name: str, files: Mapping[str, StoredTensor]) -> Tensor | None:
    if files[name].dtype.itemsize > 1:
        return None
    if f"{name}_scale_inv" not in files:
        raise SpecError(f"{name} is in {files[name].dtype} without scales", hint="take the weights in bfloat16")
    return files[f"{name}_scale_inv"].read()


def _multiplied_out(part: Tensor, first_row: int, scales: Tensor) -> Tensor:
    rows = torch.arange(first_row, first_row + part.shape[0]) // FP8_BLOCK
    columns = torch.arange(part.shape[1]) // FP8_BLOCK
    return part.float() * scales[rows][:, columns]


@torch.no_grad()
def full_tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """The parameters and buffers by the model's names, gathered one at a time, with adapters merged into them.

    A tied head comes once, as the embedding. A collective for a sharded model: all ranks take all of them.
    """
    state = model.state_dict()
    once, twice = ({name for name, _ in model.named_parameters(remove_duplicate=one)} for one in (True, False))
    for name in state:
        if ADAPTER not in name and name not in twice - once:
            yield name, merged(name, model, state)


def write_weights(
    parameters: Iterator[tuple[str, Tensor]],
    shape: ModelShape,
    target: Source | None,
    *,
    dtype: torch.dtype = torch.float32,
    max_shard_bytes: int = MAX_SHARD_BYTES,
) -> list[str]:
    """Write the files that transformers and vLLM load, one at a time, the index last. Gives their names.

    `parameters` come by the names and in the order of `Decoder(shape).state_dict()`, as `full_tensors` gives them; a
    tied head is left out. What balancing sets stays in float32. Without a target, a rank takes its part in gathering
    them and writes nothing.
    """
    if target is None:
        for _ in parameters:
            pass
        return []
    planned = [
        PlannedTensor(place.name, _kept_type(name, dtype), place.shape)
        for name, size in _parameters(shape)
        for place in places(name, size)
    ]
    files = plan_files(planned, max_shard_bytes)
    write_files(files, _split(parameters, shape), _store(target))
    return [*files, *(["model.safetensors.index.json"] if len(files) > 1 else [])]


def _split(parameters: Iterator[tuple[str, Tensor]], shape: ModelShape) -> Iterator[tuple[str, Tensor]]:
    """Stacks as the matrices of single experts."""
    for name, whole in parameters:
        if shape.tied and name == "lm_head.weight":
            continue
        for place in places(name, tuple(whole.shape)):
            inside = (slice(first, first + size) for first, size in zip(place.offset, place.size, strict=True))
            yield place.name, whole[tuple(inside)].view(place.shape)


def _parameters(shape: ModelShape) -> list[tuple[str, tuple[int, ...]]]:
    """Names and sizes of what the files hold."""
    with torch.device("meta"):
        state: dict[str, Any] = Decoder(shape).state_dict()
    if shape.tied:
        del state["lm_head.weight"]
    return [(name, tuple(weight.shape)) for name, weight in state.items()]


def _kept_type(name: str, dtype: torch.dtype) -> torch.dtype:
    return torch.float32 if name.endswith("e_score_correction_bias") else dtype


def _store(source: Source) -> Store:
    return source if isinstance(source, Store) else open_store(str(source))
