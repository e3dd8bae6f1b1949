"""A mixture of experts: a router, routed experts in stacked matrices, and shared ones that every token visits.

Weights are named and stacked as in transformers 5: `experts.gate_up_proj` is [experts, 2 ffn, hidden], with the gate
above, and `experts.down_proj` [experts, hidden, ffn]. No token is dropped, however uneven the load.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from tradewind.families import Experts, ModelShape
from tradewind.training.model.feed_forward import FeedForward


class MixtureOfExperts(nn.Module):
    """[batch, time, hidden] to the same."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        assert shape.experts is not None
        experts = shape.experts
        self.active = experts.active
        self.gate = Router(shape.hidden, experts)
        self.experts = RoutedExperts(shape.hidden, experts)
        self.shared_experts = FeedForward(shape.hidden, experts.ffn * experts.shared) if experts.shared else None

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.reshape(-1, x.shape[-1])
        chosen, weights, counts = self.gate(tokens)
        order = chosen.flatten().argsort(stable=True)
        visited = self.experts(tokens[order // self.active], counts)
        by_token = torch.empty_like(visited).index_copy(0, order, visited).view(len(tokens), self.active, -1)
        mixed = torch.bmm(weights.to(by_token.dtype)[:, None], by_token)[:, 0].view_as(x)
        return mixed if self.shared_experts is None else mixed + self.shared_experts(x)


class Router(nn.Module):
    """Scores in float32, whatever the products are in."""

    weight: nn.Parameter
    e_score_correction_bias: Tensor
    visits: Tensor

    def __init__(self, hidden: int, experts: Experts) -> None:
        super().__init__()
        self.experts = experts
        self.weight = nn.Parameter(torch.empty(experts.routed, hidden))
        self.register_buffer("visits", torch.zeros(experts.routed), persistent=False)
        if experts.scoring == "sigmoid":
            self.register_buffer("e_score_correction_bias", torch.zeros(experts.routed))

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The experts that each token visits and their weights, both [tokens, active], and visits of each expert."""
        logits = F.linear(tokens.float(), self.weight.float())
        scores = logits.softmax(dim=-1) if self.experts.scoring == "softmax" else logits.sigmoid()
        with torch.no_grad():
            chosen = self._choose(scores)
            counts = torch.zeros_like(self.visits).scatter_add_(
                0, chosen.flatten(), self.visits.new_ones(()).expand(chosen.numel())
            )
            if self.training:
                self.visits += counts
        weights = scores.gather(1, chosen)
        if self.experts.normalized:
            weights = weights / (weights.sum(dim=-1, keepdim=True) + 1e-20)
        return chosen, weights * self.experts.scale, counts

    def _choose(self, scores: Tensor) -> Tensor:
        if self.experts.scoring == "sigmoid":
            scores = scores + self.e_score_correction_bias
        if self.experts.groups > 1:
            scores = scores.masked_fill(~self._in_chosen_groups(scores), float("-inf"))
        return scores.topk(self.experts.active, dim=-1).indices

    def _in_chosen_groups(self, scores: Tensor) -> Tensor:
        """A group counts by its best expert (DeepSeek-V2, 2.2.2), with a bias by its two best (V3, 2.1.2)."""
        grouped = scores.view(len(scores), self.experts.groups, -1)
        best = grouped.topk(2 if self.experts.scoring == "sigmoid" else 1, dim=-1).values.sum(dim=-1)
        groups = best.topk(self.experts.chosen_groups, dim=-1).indices
        mask = torch.zeros_like(best, dtype=torch.bool).scatter_(1, groups, value=True)
        return mask[:, :, None].expand_as(grouped).reshape_as(scores)


class RoutedExperts(nn.Module):
    """Rows sorted by expert, [rows, hidden], and how many each expert has, to the same rows."""

    def __init__(self, hidden: int, experts: Experts) -> None:
        super().__init__()
        self.gate_up_proj = nn.Parameter(torch.empty(experts.routed, 2 * experts.ffn, hidden))
        self.down_proj = nn.Parameter(torch.empty(experts.routed, hidden, experts.ffn))

    def forward(self, rows: Tensor, counts: Tensor) -> Tensor:
        gate, up = grouped_matmul(rows, _local(self.gate_up_proj), counts).chunk(2, dim=-1)
        return grouped_matmul(F.silu(gate) * up, _local(self.down_proj), counts)


def grouped_matmul(rows: Tensor, matrices: Tensor, counts: Tensor) -> Tensor:
    """Each group of rows [rows, in] times its own matrix of [groups, out, in], transposed.

    On CUDA in bfloat16 that is one kernel; otherwise one product for each group.
    """
    if rows.is_cuda and rows.dtype == torch.bfloat16:
        ends = counts.cumsum(0).to(torch.int32)
        return F.grouped_mm(rows, matrices.transpose(-2, -1), offs=ends)
    parts = torch.split(rows, [int(count) for count in counts.tolist()])
    return torch.cat([F.linear(part, matrix) for part, matrix in zip(parts, matrices.unbind(), strict=True)])


def _local(weight: Tensor) -> Tensor:
    """With expert parallelism, the experts of this rank."""
    return weight.to_local() if isinstance(weight, DTensor) else weight


@torch.no_grad()
def update_balance(model: nn.Module, *, rate: float = 0.001, group: dist.ProcessGroup | None = None) -> Tensor:
    """Move each router's bias by `rate` towards even load, after an optimizer step; a collective where there is one.

    Auxiliary-loss-free balancing (Wang et al. 2024; DeepSeek-V3, section 2.1.2, with its rate of section 4.2): an
    expert that had more than the mean of visits loses, one that had less gains. `group` are the ranks with different
    tokens. Gives for each router how far its busiest expert was above the mean: 0 is even, 1 is twice the mean.
    """
    routers = [module for module in model.modules() if isinstance(module, Router)]
    if not routers:
        return torch.zeros(0)
    visits = torch.stack([router.visits for router in routers])
    if dist.is_initialized():
        dist.all_reduce(visits, group=group)
    means = visits.mean(dim=1, keepdim=True)
    for router, mine, mean in zip(routers, visits, means, strict=True):
        router.visits.zero_()
        if router.experts.scoring == "sigmoid":
            router.e_score_correction_bias += rate * torch.sign(mean - mine)
    return (visits.amax(dim=1) / means[:, 0].clamp(min=1)) - 1
