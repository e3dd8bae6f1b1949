"""AdamW that clips while it steps, against torch's."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import nn

from tradewind.training.optimizer import AdamW


@dataclass
class Pair:
    """The same weights under ours and under torch's."""

    mine: list[nn.Parameter]
    theirs: list[nn.Parameter]

    @classmethod
    def drawn(cls) -> Pair:
        values = [torch.randn(3, 4), torch.randn(5)]
        return cls([nn.Parameter(x.clone()) for x in values], [nn.Parameter(x.clone()) for x in values])

    def give_gradients(self) -> None:
        for a, b in zip(self.mine, self.theirs, strict=True):
            a.grad = torch.randn_like(a)
            b.grad = a.grad.clone()


@pytest.mark.parametrize("max_norm", [None, 0.5, 100.0])
def test_steps_are_those_of_torch_after_clip_grad_norm(max_norm: float | None) -> None:
    pair = Pair.drawn()
    mine = AdamW(pair.mine, lr=0.1)
    theirs = torch.optim.AdamW(pair.theirs, lr=0.1, betas=(0.9, 0.95), weight_decay=0.1)
    for _ in range(4):
        pair.give_gradients()
        norm = mine.step(max_norm=max_norm)
        wanted = nn.utils.clip_grad_norm_(pair.theirs, torch.inf if max_norm is None else max_norm)
        theirs.step()
        torch.testing.assert_close(norm, wanted)
    for a, b in zip(pair.mine, pair.theirs, strict=True):
        torch.testing.assert_close(a, b)


def test_states_go_over_to_torch_and_back() -> None:
    pair = Pair.drawn()
    mine = AdamW(pair.mine, lr=0.1, weight_decay=0.1)
    theirs = torch.optim.AdamW(pair.theirs, lr=0.1, betas=(0.9, 0.95), weight_decay=0.1)
    pair.give_gradients()
    mine.step()
    states = mine.state_dict()["state"]
    theirs.step()
    assert states.keys() == theirs.state_dict()["state"].keys()
    assert states[0].keys() == theirs.state_dict()["state"][0].keys()
    torch.testing.assert_close(states[0]["exp_avg_sq"], theirs.state_dict()["state"][0]["exp_avg_sq"])


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_gradient_that_is_not_finite_moves_nothing_and_shows_in_the_norm(value: float) -> None:
    weights = [nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(2))]
    optimizer = AdamW(weights, lr=0.1)
    weights[0].grad, weights[1].grad = torch.tensor([1.0, value, 1.0]), torch.ones(2)
    assert not torch.isfinite(optimizer.step(max_norm=1.0))
    assert all(torch.equal(weight, torch.ones_like(weight)) for weight in weights)


def test_moments_may_be_shorter_than_weights() -> None:
    weight = nn.Parameter(torch.ones(4))
    optimizer = AdamW([weight], lr=0.1, state_dtype=torch.bfloat16)
    weight.grad = torch.ones(4)
    optimizer.step()
    assert optimizer.state[weight]["exp_avg"].dtype == torch.bfloat16
    assert (weight < 1).all()
