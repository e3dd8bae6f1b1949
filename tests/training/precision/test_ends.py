"""The head with its loss, chunk by chunk."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tradewind.training.model.loss import linear_cross_entropy as plain
from tradewind.training.precision.ends import even_chunk, linear_cross_entropy


@pytest.mark.parametrize("chunk", [3, 10, 128])
def test_loss_and_gradients_are_the_plain_ones(chunk: int) -> None:
    drawn = torch.Generator().manual_seed(0)
    hidden = torch.randn(2, 5, 8, generator=drawn).requires_grad_()
    weight = torch.randn(13, 8, generator=drawn).requires_grad_()
    targets = torch.randint(0, 13, (2, 5), generator=drawn)
    mask = torch.tensor([[1, 1, 0, 1, 1], [1, 1, 1, 1, 0]])
    found = []
    for function, size in ((plain, None), (linear_cross_entropy, chunk)):
        loss, count = function(hidden, weight, targets, mask=mask, z_loss=1e-2, chunk_tokens=size)
        found.append((loss, count, *torch.autograd.grad(loss / count, (hidden, weight))))
    for got, wanted in zip(found[1], found[0], strict=True):
        torch.testing.assert_close(got, wanted)


def test_without_gradients_the_loss_is_the_same() -> None:
    hidden, weight, targets = torch.randn(6, 8), torch.randn(13, 8), torch.randint(0, 13, (6,))
    with torch.no_grad():
        torch.testing.assert_close(linear_cross_entropy(hidden, weight, targets), plain(hidden, weight, targets))


@given(st.integers(1, 100_000), st.integers(1, 20_000))
def test_chunks_are_even_and_no_larger_than_asked(tokens: int, most: int) -> None:
    chunk = even_chunk(tokens, most)
    assert chunk % 128 == 0
    assert chunk < max(most, 128) + 128
    assert -(-tokens // chunk) <= -(-tokens // max(most, 128))
