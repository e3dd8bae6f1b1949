"""Muon for matrices of blocks, AdamW for the rest."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tradewind.training.optimizer import AdamW, Muon
from tradewind.training.optimizer.muon import is_block_matrix, orthogonal


@pytest.mark.parametrize("size", [(16, 40), (40, 16)])
def test_steps_of_a_matrix_are_those_of_torchs_muon(size: tuple[int, int]) -> None:
    mine = nn.Parameter(torch.randn(size))
    theirs = nn.Parameter(mine.detach().clone())
    ours = Muon([("model.layers.0.mlp.up_proj.weight", mine)], lr=0.02)
    torchs = torch.optim.Muon([theirs], lr=0.02, momentum=0.95, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for _ in range(3):
        mine.grad = torch.randn(size)
        theirs.grad = mine.grad.clone()
        ours.step()
        torchs.step()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-2)  # both iterate in bfloat16


def test_singular_values_end_near_one() -> None:
    values = torch.linalg.svdvals(orthogonal(torch.randn(12, 30)).float())
    assert values.min() > 0.5
    assert values.max() < 1.5


def test_what_is_no_matrix_of_a_block_is_moved_by_adamw() -> None:
    names = ("model.embed_tokens.weight", "model.layers.0.input_layernorm.weight", "lm_head.weight")
    mine = [nn.Parameter(torch.ones(3, 3) if "norm" not in name else torch.ones(3)) for name in names]
    theirs = [nn.Parameter(weight.detach().clone()) for weight in mine]
    ours, adamw = Muon(zip(names, mine, strict=True), lr=0.1), AdamW(theirs, lr=0.1)
    for a, b in zip(mine, theirs, strict=True):
        a.grad = torch.randn_like(a)
        b.grad = a.grad.clone()
    ours.step(max_norm=1.0)
    adamw.step(max_norm=1.0)
    assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))


def test_stacked_experts_are_moved_one_by_one() -> None:
    name = "model.layers.1.mlp.experts.up_proj"
    stacked = nn.Parameter(torch.randn(3, 8, 6))
    single = nn.Parameter(stacked[1].detach().clone())
    assert is_block_matrix(name, stacked)
    stacked.grad = torch.randn(3, 8, 6)
    single.grad = stacked.grad[1].clone()
    Muon([(name, stacked)], lr=0.1).step()
    Muon([(name, single)], lr=0.1).step()
    torch.testing.assert_close(stacked[1], single)


def test_a_gradient_that_is_not_finite_moves_no_matrix() -> None:
    weight = nn.Parameter(torch.ones(4, 4))
    optimizer = Muon([("model.layers.0.x", weight)], lr=0.1)
    weight.grad = torch.full((4, 4), torch.nan)
    optimizer.step(max_norm=1.0)
    assert torch.equal(weight, torch.ones(4, 4))
