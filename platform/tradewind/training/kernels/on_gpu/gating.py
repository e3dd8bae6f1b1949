"""SwiGLU: a program takes one stretch of one token's row."""
# mypy: disable-error-code="no-untyped-def,untyped-decorator,import-not-found"
# ruff: noqa: ANN001, ANN202, N803 (Triton gives arguments their types; constants of a kernel are in capitals)

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 2048


@triton.jit
def _forward(gate_up, out, largest, width, NOTE: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    at = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = at < width
    gate = tl.load(gate_up + row * 2 * width + at, mask=inside, other=0.0).to(tl.float32)
    up = tl.load(gate_up + row * 2 * width + width + at, mask=inside, other=0.0).to(tl.float32)
    value = (gate * tl.sigmoid(gate) * up).to(out.dtype.element_ty)
    tl.store(out + row * width + at, value, mask=inside)
    if NOTE:
        tl.atomic_max(largest, tl.max(tl.abs(value.to(tl.float32)), axis=0), sem="relaxed")


@triton.jit
def _backward(grad, gate_up, by_gate_up, out, largest, width, NOTE: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    at = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = at < width
    gate = tl.load(gate_up + row * 2 * width + at, mask=inside, other=0.0).to(tl.float32)
    up = tl.load(gate_up + row * 2 * width + width + at, mask=inside, other=0.0).to(tl.float32)
    reached = tl.load(grad + row * width + at, mask=inside, other=0.0).to(tl.float32)
    opened = tl.sigmoid(gate)
    passed = gate * opened
    by_gate = (reached * up * (opened + passed * (1 - opened))).to(by_gate_up.dtype.element_ty)
    by_up = (reached * passed).to(by_gate_up.dtype.element_ty)
    tl.store(by_gate_up + row * 2 * width + at, by_gate, mask=inside)
    tl.store(by_gate_up + row * 2 * width + width + at, by_up, mask=inside)
    tl.store(out + row * width + at, (passed * up).to(out.dtype.element_ty), mask=inside)
    if NOTE:
        top = tl.maximum(tl.abs(by_gate.to(tl.float32)), tl.abs(by_up.to(tl.float32)))
        tl.atomic_max(largest, tl.max(top, axis=0), sem="relaxed")


def swiglu(gate_up: Tensor, largest: Tensor | None) -> Tensor:
    tokens, width = gate_up.shape[0], gate_up.shape[1] // 2
    out = torch.empty(tokens, width, dtype=gate_up.dtype, device=gate_up.device)
    _forward[(tokens, triton.cdiv(width, BLOCK))](
        gate_up, out, out if largest is None else largest, width, NOTE=largest is not None, BLOCK=BLOCK, num_warps=4
    )
    return out


def swiglu_backward(grad: Tensor, gate_up: Tensor, largest: Tensor | None) -> tuple[Tensor, Tensor]:
    tokens, width = grad.shape
    by_gate_up, out = torch.empty_like(gate_up), torch.empty_like(grad)
    _backward[(tokens, triton.cdiv(width, BLOCK))](
        grad, gate_up, by_gate_up, out, out if largest is None else largest, width,
        NOTE=largest is not None, BLOCK=BLOCK, num_warps=4,
    )  # fmt: skip
    return by_gate_up, out
