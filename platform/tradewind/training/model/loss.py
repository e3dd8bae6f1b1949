"""The loss of a whole vocabulary without its logits: the head's product and its gradient, some tokens at a time."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from tradewind.training.model.chunks import CHUNK_TOKENS

NO_TARGET = -100


def linear_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    *,
    mask: Tensor | None = None,
    z_loss: float = 0.0,
    chunk_tokens: int | None = None,
) -> tuple[Tensor, Tensor]:
    """The summed loss in nats, float32, and the number of targets, int64, of hidden [..., hidden] and targets [...].

    Targets of -100 and those where `mask` is 0 are not counted. `z_loss` times the square of each log of the softmax's
    sum is added (PaLM, section 5, with 1e-4). Logits are in the type of `hidden`, the softmax in float32. The gradients
    of both inputs are computed in the forward pass and kept: that of the weight in its own type, rounded at each chunk.
    """
    if hidden.is_cuda:
        from tradewind.training.precision.ends import linear_cross_entropy as on_gpu

        return on_gpu(hidden, weight, targets, mask=mask, z_loss=z_loss, chunk_tokens=chunk_tokens)
    counted = targets != NO_TARGET
    if mask is not None:
        counted = counted & (mask != 0)
    flat = hidden.flatten(0, -2), weight, targets.flatten(), counted.flatten()
    options = z_loss, chunk_tokens or CHUNK_TOKENS, torch.is_grad_enabled()
    loss = cast(Tensor, _LinearCrossEntropy.apply(*flat, *options))  # type: ignore[no-untyped-call]
    return loss, counted.sum()


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        targets: Tensor,
        counted: Tensor,
        z_loss: float,
        chunk_tokens: int,
        with_gradient: bool,
    ) -> Tensor:
        loss = hidden.new_zeros((), dtype=torch.float32)
        wants_hidden, wants_weight = (with_gradient and needs for needs in ctx.needs_input_grad[:2])
        hidden_gradient = torch.empty_like(hidden) if wants_hidden else None
        weight_gradient = torch.zeros_like(weight) if wants_weight else None
        for start in range(0, len(hidden), chunk_tokens):
            part = slice(start, start + chunk_tokens)
            logits = hidden[part] @ weight.t()
            part_loss, gradient = softmax_gradient(logits, targets[part], counted[part], z_loss)
            loss += part_loss
            if hidden_gradient is not None:
                torch.mm(gradient, weight, out=hidden_gradient[part])
            if weight_gradient is not None:
                weight_gradient.addmm_(gradient.t(), hidden[part])
        ctx.save_for_backward(hidden_gradient, weight_gradient)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        gradients = (saved if saved is None else saved * upstream.to(saved.dtype) for saved in ctx.saved_tensors)
        return *gradients, None, None, None, None, None


def softmax_gradient(logits: Tensor, targets: Tensor, counted: Tensor, z_loss: float) -> tuple[Tensor, Tensor]:
    """The summed loss of [tokens, vocabulary], and its gradient in the type of the logits."""
    scores = logits.float()
    log_sum = scores.logsumexp(dim=-1)
    index = targets.clamp(min=0)
    weight = counted.float()
    loss = (weight * (log_sum - scores.gather(1, index[:, None])[:, 0] + z_loss * log_sum**2)).sum()
    gradient = (scores - log_sum[:, None]).exp() * (1 + 2 * z_loss * log_sum)[:, None]
    words = torch.arange(scores.shape[1], device=scores.device)
    gradient = (gradient - (words == index[:, None]).float()) * weight[:, None]
    return loss, gradient.to(logits.dtype)
