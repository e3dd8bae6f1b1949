"""Low-rank adapters (Hu et al. 2021): frozen matrices with a small trained product beside them.

A wrapped projection keeps its name and its weight's name, so files and sharding see no difference. The adapters' state
has the names of PEFT's `adapter_model.safetensors`, which vLLM reads too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from tradewind.errors import SpecError, did_you_mean
from tradewind.training.model.shards import whole_tensor

ADAPTER = ".lora_"
"""In the names of all parameters of adapters, and of no others."""
PEFT_PREFIX = "base_model.model."


class LoraLinear(nn.Linear):
    """x W' + scaling · x A' B', with scaling = alpha / rank."""

    lora_A: nn.Linear  # noqa: N815 - as PEFT names it
    lora_B: nn.Linear  # noqa: N815
    scaling: float

    def forward(self, x: Tensor) -> Tensor:
        adapted = self.lora_B(self.lora_A(x))
        return F.linear(x, self.weight, self.bias) + self.scaling * cast(Tensor, adapted)


def add_adapters(
    model: nn.Module, *, rank: int, alpha: float, projections: Sequence[str] | None = None
) -> list[nn.Parameter]:
    """Wrap projections in place, freeze all else, and give the adapters' parameters.

    By default all matrices of the blocks but routers and routed experts, which have none; feed-forwards matter most
    (Schulman et al. 2025, LoRA Without Regret). Call it before sharding; `Decoder.initialize` draws A and sets B to 0.
    Raises SpecError for a name that no projection has.
    """
    model.requires_grad_(requires_grad=False)
    linear = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    known = {name.rpartition(".")[2] for name in linear} - {"lm_head"}
    wanted = known if projections is None else set(projections)
    if missing := sorted(wanted - known):
        raise SpecError(f"the model has no projection {missing[0]!r}{did_you_mean(missing[0], known)}")
    for name, module in linear.items():
        if name.rpartition(".")[2] in wanted:
            _wrap(module, rank, alpha / rank)
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def _wrap(linear: nn.Linear, rank: int, scaling: float) -> None:
    place: dict[str, Any] = {"device": linear.weight.device, "dtype": linear.weight.dtype}
    linear.lora_A = nn.Linear(linear.in_features, rank, bias=False, **place)
    linear.lora_B = nn.Linear(rank, linear.out_features, bias=False, **place)
    linear.scaling = scaling  # type: ignore[assignment] # Module's attributes are tensors and modules to mypy
    linear.__class__ = LoraLinear
    with torch.no_grad():
        linear.lora_B.weight.zero_()


@torch.no_grad()
def merged(name: str, model: nn.Module, state: Mapping[str, Tensor]) -> Tensor:
    """A whole parameter of the state dict, with its adapter's product added. A collective for a sharded model."""
    whole, *adapter = (whole_tensor(state[part]) for part in parts_of(name, model))
    if not adapter:
        return whole
    down, up = adapter
    owner = cast(LoraLinear, model.get_submodule(name.removesuffix(".weight")))
    return whole + (owner.scaling * (up.float() @ down.float())).to(whole.dtype)


def parts_of(name: str, model: nn.Module) -> tuple[str, ...]:
    """What a merged parameter is made of: itself, and A and B of its adapter where it has one."""
    owner, _, last = name.rpartition(".")
    if last == "weight" and isinstance(model.get_submodule(owner), LoraLinear):
        return name, f"{owner}.lora_A.weight", f"{owner}.lora_B.weight"
    return (name,)


def adapter_state(model: nn.Module) -> dict[str, Tensor]:
    """The adapters by PEFT's names, whole. A collective for a sharded model."""
    return {
        f"{PEFT_PREFIX}{name}": whole_tensor(parameter)
        for name, parameter in model.named_parameters()
        if ADAPTER in name
    }


@torch.no_grad()
def load_adapters(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Set the adapters from PEFT's names. Raises SpecError where the names are not exactly the model's."""
    mine = {f"{PEFT_PREFIX}{name}": weight for name, weight in model.named_parameters() if ADAPTER in name}
    if strange := sorted(mine.keys() ^ state.keys()):
        raise SpecError(f"{strange[0]} and {len(strange) - 1} more names of adapters are not on both sides")
    for name, weight in mine.items():
        weight.copy_(_like(state[name], weight))


def adapter_config(model: nn.Module, *, base: str) -> dict[str, Any]:
    """The content of PEFT's `adapter_config.json`; `base` names the model that is adapted."""
    adapted = {name: module for name, module in model.named_modules() if isinstance(module, LoraLinear)}
    first = next(iter(adapted.values()))
    rank = first.lora_A.out_features
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": rank,
        "lora_alpha": first.scaling * rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": sorted({name.rpartition(".")[2] for name in adapted}),
        "inference_mode": True,
    }


def _like(whole: Tensor, weight: Tensor) -> Tensor:
    """The whole, which every rank has, as `weight` is laid over the ranks."""
    whole = whole.to(weight.device, weight.dtype)
    if not isinstance(weight, DTensor):
        return whole
    return distribute_tensor(whole, weight.device_mesh, weight.placements, src_data_rank=None)
