"""The gate of a feed-forward: silu(gate) x up (Shazeer 2020, section 2), from gate and up side by side."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from tradewind.training.kernels.norm import note, wide


def swiglu(gate_up: Tensor, largest: Tensor | None = None) -> Tensor:
    """[tokens, 2 width] → [tokens, width]."""
    if gate_up.is_cuda:
        from tradewind.training.kernels.on_gpu import gating as on_gpu

        return on_gpu.swiglu(gate_up, largest)
    gate, up = gate_up.chunk(2, dim=1)
    out = (F.silu(wide(gate)) * wide(up)).to(gate_up.dtype)
    note(largest, out)
    return out


def swiglu_backward(grad: Tensor, gate_up: Tensor, largest: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """(gradient by `gate_up`, what `swiglu` gave: it costs less to make again in this pass than to keep)."""
    if gate_up.is_cuda:
        from tradewind.training.kernels.on_gpu import gating as on_gpu

        return on_gpu.swiglu_backward(grad, gate_up, largest)
    gate, up = (wide(half) for half in gate_up.chunk(2, dim=1))
    open_, wide_grad = torch.sigmoid(gate), wide(grad)
    by_gate = wide_grad * up * open_ * (1 + gate * (1 - open_))
    by_gate_up = torch.cat([by_gate, wide_grad * gate * open_], dim=1).to(gate_up.dtype)
    note(largest, by_gate_up)
    return by_gate_up, (gate * open_ * up).to(gate_up.dtype)
