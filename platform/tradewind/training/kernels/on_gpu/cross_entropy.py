"""Cross-entropy: a program reads its row twice, the second time mostly from the L2 cache, and overwrites it."""
# mypy: disable-error-code="no-untyped-def,untyped-decorator,import-not-found"
# ruff: noqa: ANN001, ANN202, N803 (Triton gives arguments their types; constants of a kernel are in capitals)

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 8192


@triton.jit
def _cross_entropy(logits, targets, loss, stride, vocabulary, z_loss, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    target = tl.load(targets + row)
    start = logits + row * stride
    top = -float("inf")
    total = 0.0
    for block in range(0, vocabulary, BLOCK):
        at = block + tl.arange(0, BLOCK)
        value = tl.load(start + at, mask=at < vocabulary, other=-float("inf")).to(tl.float32)
        higher = tl.maximum(top, tl.max(value, axis=0))
        total = total * tl.exp(top - higher) + tl.sum(tl.exp(value - higher), axis=0)
        top = higher
    log_sum = top + tl.log(total)
    counts = target >= 0
    chosen = tl.load(start + tl.maximum(target, 0)).to(tl.float32)
    tl.store(loss + row, tl.where(counts, log_sum - chosen + z_loss * log_sum * log_sum, 0.0))
    factor = tl.where(counts, 1 + 2 * z_loss * log_sum, 0.0)
    one = tl.where(counts, 1.0, 0.0)
    tl.debug_barrier()
    for block in range(0, vocabulary, BLOCK):
        at = block + tl.arange(0, BLOCK)
        value = tl.load(start + at, mask=at < vocabulary, other=-float("inf")).to(tl.float32)
        grad = tl.exp(value - log_sum) * factor - tl.where(at == target, one, 0.0)
        tl.store(start + at, grad.to(logits.dtype.element_ty), mask=at < vocabulary)


def cross_entropy_(logits: Tensor, targets: Tensor, z_loss: float) -> Tensor:
    loss = torch.empty(len(logits), dtype=torch.float32, device=logits.device)
    _cross_entropy[(len(logits),)](
        logits, targets, loss, logits.stride(0), logits.shape[1], z_loss, BLOCK=BLOCK, num_warps=16
    )
    return loss
