"""Cross-entropy where each rank of a group holds the output rows of some words, with no rank ever seeing all logits.

The vocabulary-parallel loss of Shoeybi et al. 2019 (Megatron-LM), section 3, taken chunk by chunk of tokens with the
gradient computed in the forward, so that one chunk of one rank's logits is all that is in memory at a time.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh

from tradewind.training.model.chunks import CHUNK_TOKENS
from tradewind.training.model.loss import NO_TARGET
from tradewind.training.parallel.collectives import stack


def split_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    mesh: DeviceMesh,
    *,
    z_loss: float = 0.0,
    chunk_tokens: int = CHUNK_TOKENS,
) -> Tensor:
    """The summed loss in nats of [..., width] against target words, and `z_loss` × log² of the normalizer.

    `weight` [my words, width] are this rank's rows of the output; `hidden` and `targets` are equal on all ranks of
    `mesh`. The gradient of `hidden` is this rank's part of a sum over the group. z-loss: Chowdhery et al. 2022 (PaLM),
    section 5.
    """
    loss: Tensor = _SplitCrossEntropy.apply(
        hidden.flatten(0, -2), weight, targets.flatten(), mesh, z_loss, chunk_tokens, torch.is_grad_enabled()
    )  # type: ignore[no-untyped-call]
    return loss


class _SplitCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        targets: Tensor,
        mesh: DeviceMesh,
        z_loss: float,
        chunk_tokens: int,
        with_gradient: bool,
    ) -> Tensor:
        wants_hidden, wants_weight = (with_gradient and needs for needs in ctx.needs_input_grad[:2])
        of_hidden = torch.empty_like(hidden) if wants_hidden else None
        of_weight = torch.zeros_like(weight) if wants_weight else None
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        rows = targets - mesh.get_local_rank() * weight.shape[0]
        here = (rows >= 0) & (rows < weight.shape[0])
        rows = torch.where(here, rows, 0)
        counts = (targets != NO_TARGET).float()
        for start in range(0, len(hidden), chunk_tokens):
            part = slice(start, start + chunk_tokens)
            logits = hidden[part] @ weight.T
            log_sum, wanted = log_sums(logits, rows[part], here[part], mesh)
            total += (counts[part] * (log_sum - wanted + z_loss * log_sum**2)).sum()
            scale = 1.0 + 2.0 * z_loss * log_sum
            of_logits = _fused(gradient, logits)(logits, rows[part], here[part], log_sum, scale, counts[part])
            if of_hidden is not None:
                torch.mm(of_logits, weight, out=of_hidden[part])
            if of_weight is not None:
                of_weight.addmm_(of_logits.T, hidden[part])
        ctx.save_for_backward(of_hidden, of_weight)
        return total

    @staticmethod
    def backward(ctx: Any, *of_loss: Tensor) -> tuple[Tensor | None, ...]:
        of_hidden, of_weight = ctx.saved_tensors
        scaled = [None if part is None else part * of_loss[0].to(part.dtype) for part in (of_hidden, of_weight)]
        return (*scaled, None, None, None, None, None)


def log_sums(logits: Tensor, rows: Tensor, here: Tensor, mesh: DeviceMesh) -> tuple[Tensor, Tensor]:
    """Of each token, over all words of the group: the log of the softmax's sum, and the logit of the target."""
    mine = _fused(statistics, logits)(logits, rows, here)
    highest, sums, wanted = stack(mine, mesh.get_group()).unbind(dim=1)
    return (highest + sums.log()).logsumexp(dim=0), wanted.sum(dim=0)


def statistics(logits: Tensor, rows: Tensor, here: Tensor) -> Tensor:
    """Highest logit, sum of exponentials below it, and logit of the target or 0, [3, tokens], of my words."""
    scores = logits.float()
    highest = scores.amax(dim=1)
    sums = (scores - highest[:, None]).exp().sum(dim=1)
    wanted = torch.where(here, scores.gather(1, rows[:, None])[:, 0], 0.0)
    return torch.stack((highest, sums, wanted))


def gradient(logits: Tensor, rows: Tensor, here: Tensor, log_sum: Tensor, scale: Tensor, weight: Tensor) -> Tensor:
    """By my logits, in their type: softmax times `scale`, less 1 at the target, times `weight`."""
    share = (logits.float() - log_sum[:, None]).exp() * scale[:, None]
    words = torch.arange(logits.shape[1], device=logits.device)
    share = share - ((words == rows[:, None]) & here[:, None]).float()
    return (share * weight[:, None]).to(logits.dtype)


def _fused(function: Callable[..., Tensor], logits: Tensor) -> Callable[..., Tensor]:
    """On CUDA compiled, so that logits are read once by each function."""
    return _compiled(function) if logits.is_cuda else function


@functools.cache
def _compiled(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return torch.compile(function)
