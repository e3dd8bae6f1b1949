"""What runs only on CUDA: the same results as on a processor, eager and compiled."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.training.model.shapes import LATENT, SHAPES, ours, tokens
from tradewind.families import ModelShape
from tradewind.training.model import Decoder, linear_cross_entropy
from tradewind.training.model.attention import attend, document_mask
from tradewind.training.model.experts import grouped_matmul
from tradewind.training.optimizer import AdamW

pytestmark = pytest.mark.gpu
FLEX = {
    "grouped": replace(SHAPES["grouped"], head_dim=16),
    "qwen3": SHAPES["qwen3"],
    "deepseek v3, yarn": replace(SHAPES["deepseek v3, yarn"], latent=replace(LATENT, value_dim=16)),
    "qwen3 moe": replace(SHAPES["qwen3 moe"], head_dim=16),
}
"""Shapes whose heads are wide enough: FlexAttention knows none below 16."""
compiled = pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])


def documents_of(shape: ModelShape) -> Tensor:
    return (torch.arange(shape.context)[None] * torch.tensor([[1], [3], [5]]) // 17).int()


@compiled
@pytest.mark.parametrize("documents", [False, True], ids=["causal", "documents"])
@pytest.mark.parametrize("name", FLEX)
def test_logits_are_those_of_the_processor(name: str, documents: bool, compiled: bool) -> None:
    model = ours(FLEX[name])
    batch, cuts = tokens(model.shape), documents_of(model.shape) if documents else None
    there = copy.deepcopy(model).cuda()
    if compiled:
        for layer in there.model.layers.values():
            layer.compile()
    with torch.no_grad():
        expected = model(batch, documents=cuts)
        made = there(batch.cuda(), documents=None if cuts is None else cuts.cuda()).cpu()
    torch.testing.assert_close(made, expected, atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize("documents", [False, True], ids=["causal", "documents"])
@pytest.mark.parametrize(("dim", "value_dim", "heads"), [(128, 128, 2), (64, 64, 8), (192, 128, 8)])
def test_attention_in_bfloat16_has_the_gradients_of_float32(
    dim: int, value_dim: int, heads: int, documents: bool
) -> None:
    torch.manual_seed(0)
    q, k, v = (
        torch.randn(2, many, 512, width, device="cuda", requires_grad=True)
        for many, width in ((8, dim), (heads, dim), (heads, value_dim))
    )
    segments = (torch.arange(512, device="cuda")[None] * torch.tensor([[1], [2]], device="cuda")) // 100
    mask = document_mask(segments) if documents else None
    made = attend(q.bfloat16(), k.bfloat16(), v.bfloat16(), mask, scale=dim**-0.5)
    dense = document_mask(segments.cpu()) if documents else document_mask(torch.zeros(1, 512))
    assert isinstance(dense, Tensor)
    expected = F.scaled_dot_product_attention(q, k, v, attn_mask=dense.cuda(), scale=dim**-0.5, enable_gqa=heads != 8)
    torch.testing.assert_close(made.float(), expected, atol=2e-2, rtol=2e-2)
    factor = torch.randn_like(expected)
    mine = torch.autograd.grad((made.float() * factor).sum(), (q, k, v))
    theirs = torch.autograd.grad((expected * factor).sum(), (q, k, v))
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=0.1, rtol=5e-2)


@pytest.mark.parametrize("sizes", [[5, 0, 131, 64], [0, 0, 1, 0], [7, 9, 11, 13], [200, 0, 0, 0]])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_grouped_products_and_gradients_for_groups_of_any_size(sizes: list[int], kind: torch.dtype) -> None:
    torch.manual_seed(1)
    rows = torch.randn(sum(sizes), 64, dtype=kind, requires_grad=True)
    matrices = torch.randn(4, 96, 64, dtype=kind, requires_grad=True)
    there = [x.detach().cuda().requires_grad_() for x in (rows, matrices)]
    counts, factor = torch.tensor(sizes), torch.randn(sum(sizes), 96, dtype=kind)
    made, expected = grouped_matmul(there[0], there[1], counts.cuda()), grouped_matmul(rows, matrices, counts)
    limits: dict[str, Any] = {"atol": 1e-3, "rtol": 1e-3} if kind == torch.float32 else {"atol": 0.3, "rtol": 3e-2}
    torch.testing.assert_close(made.cpu(), expected, **limits)
    (made * factor.cuda()).sum().backward()  # type: ignore[no-untyped-call]
    (expected * factor).sum().backward()  # type: ignore[no-untyped-call]
    for one, other in zip(there, (rows, matrices), strict=True):
        assert one.grad is not None
        torch.testing.assert_close(one.grad.cpu(), other.grad, **limits)


def test_loss_and_gradients_are_those_of_the_processor() -> None:
    torch.manual_seed(2)
    hidden, weight = torch.randn(300, 64, requires_grad=True), torch.randn(1000, 64, requires_grad=True)
    targets = torch.randint(-1, 1000, (300,))
    targets[targets < 0] = -100
    there = [x.detach().cuda().requires_grad_() for x in (hidden, weight)]
    loss, count = linear_cross_entropy(hidden, weight, targets, z_loss=1e-3, chunk_tokens=128)
    its, many = linear_cross_entropy(there[0], there[1], targets.cuda(), z_loss=1e-3, chunk_tokens=128)
    assert many.item() == count.item()
    torch.testing.assert_close(its.cpu(), loss, atol=1e-2, rtol=1e-4)
    loss.backward()  # type: ignore[no-untyped-call]
    its.backward()  # type: ignore[no-untyped-call]
    for one, other in zip(there, (hidden, weight), strict=True):
        assert one.grad is not None
        torch.testing.assert_close(one.grad.cpu(), other.grad, atol=2e-3, rtol=2e-3)


@compiled
@pytest.mark.parametrize("name", ["deepseek v3", "qwen3 moe"])
def test_mixtures_train_in_bfloat16(name: str, compiled: bool) -> None:
    model = Decoder(SHAPES[name]).cuda()
    for weight in model.parameters():  # and no buffers: the router counts in them
        weight.data = weight.data.bfloat16()
    model.initialize(0)
    if compiled:
        for layer in model.model.layers.values():
            layer.compile()
    optimizer = AdamW(model.parameters(), lr=3e-3, state_dtype=torch.float32)
    batch, losses = tokens(model.shape).cuda(), []
    for _ in range(30):
        loss, count = model.loss(batch[:, :-1], batch[:, 1:])
        (loss / count).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
        losses.append((loss / count).item())
    assert losses[-1] < losses[0] - 1.0
