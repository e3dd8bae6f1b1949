"""Fused blocks against the decoder's own, on the CPU, where both are exact."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tradewind.families import ModelShape, known_model
from tradewind.training.model import Decoder
from tradewind.training.model.lora import add_adapters
from tradewind.training.precision import accelerate, settle
from tradewind.training.precision.accelerated import Activations, fuse, is_fusable
from tradewind.training.precision.block import How
from tradewind.training.precision.products import Float8, Scaling

SMALL = replace(
    known_model("llama-3.1-8b"), vocabulary=96, hidden=32, layers=2, heads=4, kv_heads=2, head_dim=8, ffn=48
)
Gradients = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def plain() -> Decoder:
    decoder = Decoder(SMALL)
    decoder.initialize(0)
    return decoder


def twin(of: Decoder) -> Decoder:
    decoder = Decoder(of.shape)
    decoder.load_state_dict(of.state_dict())
    return decoder


def step(decoder: Decoder, documents: torch.Tensor | None = None) -> tuple[float, Gradients]:
    drawn = torch.Generator().manual_seed(1)
    tokens, targets = torch.randint(0, 96, (2, 2, 16), generator=drawn)
    targets[0, 3] = -100
    decoder.zero_grad()
    loss, count = decoder.loss(tokens, targets, documents=documents, z_loss=1e-3)
    (loss / count).backward()  # type: ignore[no-untyped-call]
    return loss.item(), {
        name: weight.grad.clone() for name, weight in decoder.named_parameters() if weight.grad is not None
    }


def furthest(a: Gradients, b: Gradients) -> float:
    return max(float((a[name] - b[name]).norm() / b[name].norm()) for name in b)


@pytest.mark.parametrize("activations", ["none", "selective", "full"])
@pytest.mark.parametrize("settled", [False, True])
def test_loss_and_gradients_are_those_of_plain_blocks(
    plain: Decoder, activations: Activations, *, settled: bool
) -> None:
    decoder = twin(plain)
    done = accelerate(decoder, compute="float32", activations=activations)
    if settled:
        settle(decoder, short_gradients=False)
    assert done.fused_blocks == 2
    loss, gradients = step(decoder)
    wanted_loss, wanted = step(plain)
    assert loss == pytest.approx(wanted_loss, rel=1e-6)
    assert set(gradients) == set(wanted)
    assert furthest(gradients, wanted) < 1e-5


def test_documents_are_kept_apart_as_in_plain_blocks(plain: Decoder) -> None:
    documents = torch.tensor([[0] * 5 + [1] * 11, [2] * 16])
    decoder = twin(plain)
    accelerate(decoder, compute="float32")
    loss, gradients = step(decoder, documents)
    wanted_loss, wanted = step(plain, documents)
    assert loss == pytest.approx(wanted_loss, rel=1e-6)
    assert furthest(gradients, wanted) < 1e-5


def test_parameters_keep_names_and_values(plain: Decoder) -> None:
    decoder = twin(plain)
    accelerate(decoder, compute="float32")
    settle(decoder, short_gradients=False)
    assert list(decoder.state_dict()) == list(plain.state_dict())
    assert all(torch.equal(value, plain.state_dict()[name]) for name, value in decoder.state_dict().items())


@pytest.mark.parametrize("scaling", ["tensorwise", "rowwise"])
def test_float8_products_are_near_the_exact_ones(plain: Decoder, scaling: Scaling) -> None:
    decoder = twin(plain)
    for layer in decoder.model.layers.values():
        fuse(layer, How(Float8(scaling, result=torch.float32)))
    loss, gradients = step(decoder)
    wanted_loss, wanted = step(plain)
    assert loss == pytest.approx(wanted_loss, rel=1e-3)
    assert loss != wanted_loss
    assert furthest(gradients, wanted) < 0.2


@pytest.mark.parametrize("changed", [{"qk_norm": True}, {"qkv_bias": True}, {"head_dim": 12}])
def test_other_blocks_are_left_to_the_compiler(changed: dict[str, object]) -> None:
    shape: ModelShape = replace(SMALL, **changed)  # type: ignore[arg-type]
    assert not is_fusable(shape)
    assert accelerate(Decoder(shape), compute="float32", compile_others=False).fused_blocks == 0


@pytest.mark.parametrize("activations", ["selective", "full"])
def test_what_other_blocks_make_again_is_what_they_made(activations: Activations) -> None:
    plain, again = (Decoder(replace(SMALL, qk_norm=True)) for _ in range(2))
    plain.initialize(0)
    again.load_state_dict(plain.state_dict())
    accelerate(again, compute="float32", activations=activations, compile_others=False)
    loss, gradients = step(again)
    wanted_loss, wanted = step(plain)
    assert loss == pytest.approx(wanted_loss, rel=1e-6)
    assert furthest(gradients, wanted) < 1e-5


@pytest.mark.parametrize("scaling", ["tensorwise", "rowwise"])
def test_float8_on_a_cpu_falls_back_with_the_reason(plain: Decoder, scaling: Scaling) -> None:
    done = accelerate(twin(plain), compute="float8", scaling=scaling)
    assert done.compute == "bfloat16"
    assert done.reasons == ("float8 needs a CUDA device, and the model is on cpu",)


def test_scaling_is_said_to_be_unread_where_nothing_is_in_float8(plain: Decoder) -> None:
    done = accelerate(twin(plain), compute="float32", scaling="rowwise")
    assert done.reasons == ("scaling rowwise is of float8 products, and these are in float32",)
    assert done.scaling is None


def test_blocks_with_adapters_are_not_fused() -> None:
    decoder = Decoder(SMALL)
    add_adapters(decoder, rank=2, alpha=4.0, projections=["q_proj"])
    assert accelerate(decoder, compute="float32", compile_others=False).fused_blocks == 0
