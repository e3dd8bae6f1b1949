"""What stands before and after the blocks: the embedding, the last norm, and the head with its loss."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from tradewind.training.kernels import cross_entropy_, rms_norm, rms_norm_backward, scale_
from tradewind.training.precision.tokens import arrived
from tradewind.training.precision.working import working

LOGIT_BYTES = 1 << 31
"""Of logits that are held at a time: the head's products lose nothing down to 4,096 tokens (measured on an H200)."""


class Lookup(torch.autograd.Function):
    """Rows of the embedding in the type that the step computes in; its gradient in that type too."""

    @staticmethod
    def forward(ctx: Any, tokens: Tensor, weight: Tensor, dtype: torch.dtype) -> Tensor:
        ctx.save_for_backward(tokens)
        ctx.words = len(weight)
        return working(weight, dtype)[tokens]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (tokens,) = ctx.saved_tensors
        return None, torch.ops.aten.embedding_dense_backward(arrived(grad), tokens, ctx.words, -1, False), None


class Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        x = arrived(x)
        normed, inverse = rms_norm(x.flatten(0, -2), weight, eps)
        ctx.save_for_backward(x, weight, inverse)
        return normed.view_as(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, inverse = ctx.saved_tensors
        by_x, by_weight = rms_norm_backward(arrived(grad).flatten(0, -2), x.flatten(0, -2), weight, inverse)
        return by_x.view_as(x), by_weight, None


class Head(torch.autograd.Function):
    """(hidden [tokens, hidden], weight, targets) → summed nats. Gradients are made in the forward pass, by chunks."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, z_loss: float, chunk: int) -> Tensor:
        held = working(weight, hidden.dtype)
        by_hidden = torch.empty_like(hidden)
        by_weight = torch.empty_like(held)
        losses = []
        for start in range(0, len(hidden), chunk):
            part = hidden[start : start + chunk]
            logits = part @ held.t()
            losses.append(cross_entropy_(logits, targets[start : start + chunk], z_loss))
            torch.mm(logits, held, out=by_hidden[start : start + chunk])
            if start:
                by_weight.addmm_(logits.t(), part)
            else:
                torch.mm(logits.t(), part, out=by_weight)
            del logits
        ctx.save_for_backward(by_hidden, by_weight)
        return torch.cat(losses).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        by_hidden, by_weight = ctx.saved_tensors
        return scale_(by_hidden, grad), scale_(by_weight, grad), None, None, None


def linear_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    *,
    mask: Tensor | None = None,
    z_loss: float = 0.0,
    chunk_tokens: int | None = None,
) -> tuple[Tensor, Tensor]:
    """What `model.loss.linear_cross_entropy` gives, with logits that become their own gradient in place."""
    targets = targets.flatten()
    if mask is not None:
        targets = targets.masked_fill(mask.flatten() == 0, -100)
    rows = arrived(hidden).flatten(0, -2)
    if not torch.is_grad_enabled():
        return _loss_alone(rows, working(weight, rows.dtype), targets, z_loss), (targets >= 0).sum()
    chunk = chunk_tokens or even_chunk(len(rows), LOGIT_BYTES // (len(weight) * rows.element_size()))
    return _head(rows, weight, targets, z_loss, chunk), (targets >= 0).sum()


def _head(rows: Tensor, weight: Tensor, targets: Tensor, z_loss: float, chunk: int) -> Tensor:
    loss: Tensor = Head.apply(rows, weight, targets, z_loss, chunk)  # type: ignore[no-untyped-call]
    return loss


def even_chunk(tokens: int, most: int) -> int:
    """Tokens of each of the fewest equal chunks that hold at most `most` tokens, up to a multiple of 128."""
    chunks = -(-tokens // max(most, 128))
    return -(-tokens // chunks // 128) * 128


def _loss_alone(rows: Tensor, weight: Tensor, targets: Tensor, z_loss: float) -> Tensor:
    chunk = even_chunk(len(rows), LOGIT_BYTES // (len(weight) * rows.element_size()))
    parts = zip(torch.split(rows, chunk), torch.split(targets, chunk), strict=True)
    return torch.stack([cross_entropy_(part @ weight.t(), wanted, z_loss).sum() for part, wanted in parts]).sum()
