from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tradewind.families import ModelShape, family, parameters
from tradewind.training.model import Decoder

SHAPES = {
    "plain": ModelShape("llama", 97, 32, 2, 4, 4, 8, 48, 40, tied=True),
    "grouped": ModelShape("llama", 97, 48, 3, 6, 2, 8, 64, 40, tied=True),
    "one key head": ModelShape("llama", 97, 32, 1, 4, 1, 8, 40, 40, tied=True),
    "untied": ModelShape("llama", 97, 32, 2, 4, 2, 8, 48, 40, tied=False),
    "wide heads": ModelShape("llama", 50, 32, 2, 4, 2, 16, 48, 40, tied=False),
    "other rotation and norm": ModelShape("llama", 50, 32, 2, 2, 2, 16, 48, 40, False, rope_theta=500.0, norm_eps=1e-2),
}

shapes = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())


def ours(shape: ModelShape) -> Decoder:
    """A model with weights larger than at the start of a training, so that every part of it matters."""
    model = Decoder(shape)
    model.initialize(3)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(5 if weight.dim() > 1 else 1).add_(0.2 * torch.randn(weight.shape, generator=generator))
    return model.eval()


def theirs(shape: ModelShape) -> Any:
    config = family("llama").hugging_face_config(shape)
    torch.manual_seed(11)
    made: Any = LlamaForCausalLM(LlamaConfig(**{key: config[key] for key in config if key != "torch_dtype"}))
    return made.eval()


def tokens(shape: ModelShape) -> torch.Tensor:
    return torch.randint(0, shape.vocabulary, (3, shape.context), generator=torch.Generator().manual_seed(1))


def assert_same_logits(mine: Decoder, other: Any, shape: ModelShape) -> None:
    with torch.inference_mode():
        logits = mine(tokens(shape))
        assert logits.std() > 0.1
        torch.testing.assert_close(logits, other(input_ids=tokens(shape)).logits, atol=1e-4, rtol=1e-4)


@shapes
def test_our_weights_give_the_same_logits_in_transformers(shape: ModelShape) -> None:
    mine, other = ours(shape), theirs(shape)
    other.load_state_dict(mine.state_dict(), strict=True)
    assert_same_logits(mine, other, shape)


@shapes
def test_weights_of_transformers_give_the_same_logits_in_ours(shape: ModelShape) -> None:
    mine, other = Decoder(shape), theirs(shape)
    with torch.no_grad():
        for weight in other.parameters():
            weight.mul_(5)
    mine.load_state_dict(other.state_dict(), strict=True)
    assert_same_logits(mine, other, shape)


@shapes
def test_family_counts_the_weights_of_the_module(shape: ModelShape) -> None:
    assert parameters(shape) == sum(weight.numel() for weight in Decoder(shape).parameters())


@shapes
def test_what_comes_later_changes_nothing_before(shape: ModelShape) -> None:
    model, first = ours(shape), tokens(shape)
    second = first.clone()
    second[:, 20:] = (second[:, 20:] + 1) % shape.vocabulary
    with torch.inference_mode():
        before, after = model(first), model(second)
    torch.testing.assert_close(before[:, :20], after[:, :20], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(before[:, 20:], after[:, 20:], atol=1e-2)


def test_seed_decides_the_first_weights() -> None:
    shape = SHAPES["untied"]
    states = []
    for seed in (1, 1, 2):
        model = Decoder(shape)
        model.initialize(seed)
        states.append(model.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not torch.equal(states[0]["lm_head.weight"], states[2]["lm_head.weight"])


def test_first_weights_have_the_deviations_of_gpt2() -> None:
    model = Decoder(ModelShape("llama", 500, 128, 4, 4, 4, 32, 256, 40, tied=True))
    model.initialize(0)
    state = model.state_dict()
    assert state["model.embed_tokens.weight"].std() == pytest.approx(0.02, rel=0.05)
    for name in ("self_attn.o_proj", "mlp.down_proj"):
        assert state[f"model.layers.0.{name}.weight"].std() == pytest.approx(0.02 / math.sqrt(8), rel=0.05)
    assert (state["model.norm.weight"] == 1).all()


def test_untrained_model_knows_nothing() -> None:
    shape = SHAPES["plain"]
    model = Decoder(shape)
    model.initialize(0)
    with torch.inference_mode():
        losses = torch.nn.functional.cross_entropy(model(tokens(shape)).flatten(0, 1), tokens(shape).flatten().roll(-1))
    assert losses.item() == pytest.approx(math.log(shape.vocabulary), rel=0.02)
