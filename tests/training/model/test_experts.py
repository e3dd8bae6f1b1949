from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.model.shapes import SHAPES, SIGMOID, SOFTMAX, ours, tokens
from tradewind.training.model import Decoder, update_balance
from tradewind.training.model.experts import MixtureOfExperts, Router, grouped_matmul


@given(st.lists(st.integers(0, 5), min_size=1, max_size=6), st.integers(0, 99))
@settings(deadline=None)
def test_each_group_of_rows_meets_its_own_matrix(sizes: list[int], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(sum(sizes), 8, generator=generator, requires_grad=True)
    matrices = torch.randn(len(sizes), 4, 8, generator=generator, requires_grad=True)
    made = grouped_matmul(rows, matrices, torch.tensor(sizes))
    number = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    expected = torch.bmm(rows[:, None], matrices[number].transpose(1, 2))[:, 0]
    torch.testing.assert_close(made, expected, atol=1e-5, rtol=1e-5)
    factor = torch.randn(made.shape, generator=generator)
    mine = torch.autograd.grad((made * factor).sum(), (rows, matrices))
    torch.testing.assert_close(mine, torch.autograd.grad((expected * factor).sum(), (rows, matrices)))


def test_product_of_torch_on_grouped_rows_is_the_same() -> None:
    """What runs on CUDA, where torch has it for this processor too."""
    rows, matrices, counts = torch.randn(20, 16), torch.randn(4, 8, 16), torch.tensor([5, 0, 8, 7])
    theirs = F.grouped_mm(rows, matrices.transpose(1, 2), offs=counts.cumsum(0).int())
    torch.testing.assert_close(grouped_matmul(rows, matrices, counts), theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("experts", [SOFTMAX, SIGMOID])
def test_mixture_is_the_sum_over_all_experts_with_weights_of_zero_for_the_others(experts: object) -> None:
    shape = replace(SHAPES["deepseek v3"], experts=experts)  # type: ignore[arg-type]
    mixture = MixtureOfExperts(shape)
    torch.manual_seed(4)
    for weight in mixture.parameters():
        torch.nn.init.normal_(weight)
    x = torch.randn(2, 9, shape.hidden)
    flat = x.flatten(0, 1)
    chosen, weights, counts = mixture.gate(flat)
    whole = torch.zeros(len(flat), mixture.gate.experts.routed).scatter(1, chosen, weights)
    expected = mixture.shared_experts(flat) if mixture.shared_experts else torch.zeros_like(flat)
    for number in range(mixture.gate.experts.routed):
        gate, up = F.linear(flat, mixture.experts.gate_up_proj[number]).chunk(2, dim=-1)
        expected = expected + whole[:, number, None] * F.linear(F.silu(gate) * up, mixture.experts.down_proj[number])
    assert counts.sum() == len(flat) * mixture.active
    torch.testing.assert_close(mixture(x).flatten(0, 1), expected, atol=1e-4, rtol=1e-4)


def test_gradients_reach_router_and_visited_experts() -> None:
    model = ours(SHAPES["deepseek v3"])
    loss, _ = model.loss(tokens(model.shape), tokens(model.shape))
    loss.backward()  # type: ignore[no-untyped-call]
    assert all(weight.grad is not None and weight.grad.any() for weight in model.parameters())


def routers(model: Decoder) -> list[Router]:
    return [module for module in model.modules() if isinstance(module, Router)]


def test_balance_moves_the_bias_towards_even_load() -> None:
    model = ours(SHAPES["deepseek v3"]).train()
    (first, *_) = routers(model)
    before = first.e_score_correction_bias.clone()
    with torch.no_grad():
        model(tokens(model.shape))
    visits = first.visits.clone()
    assert visits.sum() == tokens(model.shape).numel() * first.experts.active
    update_balance(model, rate=0.01)
    moved = first.e_score_correction_bias - before
    torch.testing.assert_close(moved, 0.01 * torch.sign(visits.mean() - visits), atol=1e-6, rtol=1e-6)
    assert not first.visits.any()


def test_balancing_evens_out_a_router_that_had_favourites() -> None:
    shape = SHAPES["deepseek v3"]
    model = ours(shape).train()
    history = []
    for _ in range(200):
        with torch.no_grad():
            model(tokens(shape))
        history.append(update_balance(model, rate=0.02).max().item())
    assert history[0] > 0.8
    assert sum(history[-20:]) / 20 < 0.35


def test_evaluation_counts_no_visits() -> None:
    model = ours(SHAPES["deepseek v3"])
    with torch.no_grad():
        model(tokens(model.shape))
    assert not routers(model)[0].visits.any()


def test_model_without_experts_has_nothing_to_balance() -> None:
    assert update_balance(ours(SHAPES["llama"])).numel() == 0


def test_grouped_routing_stays_within_the_chosen_groups() -> None:
    model = ours(SHAPES["deepseek v3, groups"])
    router = routers(model)[0]
    chosen, _, _ = router(torch.randn(50, model.shape.hidden))
    of_group = router.experts.routed // router.experts.groups
    groups = {tuple(sorted(set(row))) for row in (chosen // of_group).tolist()}
    assert max(len(row) for row in groups) <= router.experts.chosen_groups < router.experts.groups
