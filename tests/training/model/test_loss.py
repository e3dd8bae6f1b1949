from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.training.model.shapes import SHAPES, ours, tokens
from tradewind.training.model import linear_cross_entropy

WORDS, HIDDEN = 37, 12


def inputs(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(3, 11, HIDDEN, generator=generator).requires_grad_()
    weight = torch.randn(WORDS, HIDDEN, generator=generator).requires_grad_()
    return hidden, weight, torch.randint(0, WORDS, (3, 11), generator=generator)


def plain(hidden: Tensor, weight: Tensor, targets: Tensor, counted: Tensor, z_loss: float) -> Tensor:
    logits = (hidden @ weight.t()).flatten(0, 1)
    losses = F.cross_entropy(logits, targets.flatten().clamp(min=0), reduction="none")
    return ((losses + z_loss * logits.logsumexp(dim=-1) ** 2) * counted.flatten()).sum()


@given(
    chunk=st.integers(1, 40), z_loss=st.sampled_from([0.0, 1e-4, 0.1]), seed=st.integers(0, 99), factor=st.floats(-2, 2)
)
@settings(deadline=None, max_examples=40)
def test_loss_and_both_gradients_are_those_of_torch_for_every_chunk(
    chunk: int, z_loss: float, seed: int, factor: float
) -> None:
    hidden, weight, targets = inputs(seed)
    generator = torch.Generator().manual_seed(seed)
    targets[torch.rand(targets.shape, generator=generator) < 0.2] = -100
    mask = torch.rand(targets.shape, generator=generator) < 0.7
    loss, count = linear_cross_entropy(hidden, weight, targets, mask=mask, z_loss=z_loss, chunk_tokens=chunk)
    (factor * loss).backward()  # type: ignore[no-untyped-call]
    gradients = hidden.grad, weight.grad

    hidden, weight, _ = inputs(seed)
    counted = mask & (targets != -100)
    expected = plain(hidden, weight, targets, counted, z_loss)
    (factor * expected).backward()  # type: ignore[no-untyped-call]
    assert count == counted.sum()
    torch.testing.assert_close(loss, expected, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(gradients[0], hidden.grad, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(gradients[1], weight.grad, atol=1e-5, rtol=1e-4)


def test_targets_of_which_none_counts_have_neither_loss_nor_gradient() -> None:
    hidden, weight, targets = inputs()
    loss, count = linear_cross_entropy(hidden, weight, torch.full_like(targets, -100))
    loss.backward()  # type: ignore[no-untyped-call]
    assert (loss.item(), count.item()) == (0.0, 0)
    assert hidden.grad is not None
    assert not hidden.grad.any()


def test_frozen_head_gets_no_gradient_and_its_input_does() -> None:
    hidden, weight, targets = inputs()
    weight.requires_grad = False
    linear_cross_entropy(hidden, weight, targets)[0].backward()  # type: ignore[no-untyped-call]
    assert weight.grad is None
    assert hidden.grad is not None


def test_softmax_is_in_float32_for_logits_in_bfloat16() -> None:
    hidden, weight, targets = (tensor.detach() for tensor in inputs())
    low = hidden.bfloat16(), weight.bfloat16()
    expected = F.cross_entropy((low[0] @ low[1].t()).float().flatten(0, 1), targets.flatten(), reduction="sum")
    assert linear_cross_entropy(*low, targets)[0].item() == pytest.approx(expected.item(), rel=1e-5)


def test_no_tensor_of_all_logits_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    class Largest(torch.utils._python_dispatch.TorchDispatchMode):  # type: ignore[no-untyped-call]
        numel = 0

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            made = func(*args, **(kwargs or {}))
            for one in made if isinstance(made, tuple | list) else (made,):
                if isinstance(one, Tensor):
                    self.numel = max(self.numel, one.numel())
            return made

    hidden, weight, targets = inputs()
    with Largest() as largest:  # type: ignore[no-untyped-call]
        linear_cross_entropy(hidden, weight, targets, chunk_tokens=4)[0].backward()  # type: ignore[no-untyped-call]
    assert 0 < largest.numel <= WORDS * HIDDEN < WORDS * targets.numel()


def test_loss_of_a_decoder_is_that_of_its_logits() -> None:
    model, batch = ours(SHAPES["untied"]), tokens(SHAPES["untied"])
    loss, count = model.loss(batch[:, :-1], batch[:, 1:])
    expected = F.cross_entropy(model(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten(), reduction="sum")
    assert count == batch[:, 1:].numel()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
