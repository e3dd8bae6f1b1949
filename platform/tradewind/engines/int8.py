"""Linear layers whose weights are 8-bit integers, made of a model that was loaded in 32 bits.

Each output channel has a scale of its own, its largest weight over 127 (symmetric, after Krishnamoorthi 2018, section
3.1.1). Only `nn.Linear` is changed: norms, embeddings and the output matrix, tied or not, stay as they are, as in
published 8-bit checkpoints. Products are computed in the type of the activations, so that weights are made whole again
at each pass: a quarter of the memory, and no fewer operations. Torch's own 8-bit tensors (torch.ao.quantization) are
deprecated from 2.13 on.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from tradewind.errors import SpecError

LARGEST = 127


class Int8Linear(nn.Module):
    """What `nn.Linear` computes, with weights [out, in] as integers and a scale [out] for each row."""

    weight: torch.Tensor
    scale: torch.Tensor

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        whole = linear.weight.detach()
        scale = whole.abs().amax(dim=1).clamp(min=torch.finfo(whole.dtype).tiny) / LARGEST
        self.register_buffer("weight", torch.round(whole / scale[:, None]).to(torch.int8))
        self.register_buffer("scale", scale)
        self.bias = linear.bias

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        made = functional.linear(inputs, self.weight.to(inputs.dtype)) * self.scale
        return made if self.bias is None else made + self.bias


def quantise(model: Any) -> None:
    """Change a model of `transformers` in place. Raises SpecError where it has no layer to change."""
    kept = model.get_output_embeddings()
    names = [name for name, one in model.named_modules() if isinstance(one, nn.Linear) and one is not kept]
    if not names:
        raise SpecError(
            "the model has no linear layers that int8 would make smaller", hint="serve it with precision: auto"
        )
    for name in names:
        parent = model.get_submodule(name.rpartition(".")[0])
        setattr(parent, name.rpartition(".")[2], Int8Linear(model.get_submodule(name)))


def weights_bytes(model: nn.Module) -> int:
    """Of all weights; one that is tied counts once."""
    held = {one.data_ptr(): one.numel() * one.element_size() for one in (*model.parameters(), *model.buffers())}
    return sum(held.values())
