from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

from tradewind.engines.int8 import Int8Linear, quantise, weights_bytes
from tradewind.engines.loading import load_model
from tradewind.errors import SpecError

IDS = torch.arange(40)[None]


@pytest.fixture
def model(tiny_model: Path) -> Any:
    return load_model(tiny_model, torch.float32)


def quantised(tiny_model: Path) -> Any:
    made = load_model(tiny_model, torch.float32)
    quantise(made)
    return made


def scores(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        made: torch.Tensor = model(input_ids=IDS, use_cache=False).logits
    return made


def test_each_row_is_rounded_by_less_than_half_of_its_own_step() -> None:
    linear = nn.Linear(64, 3)
    with torch.no_grad():
        linear.weight *= torch.tensor([[1e-6], [1.0], [1e6]])
        made = Int8Linear(linear)
        error = (made.weight * made.scale[:, None] - linear.weight).abs().amax(dim=1)
    assert made.weight.dtype == torch.int8
    assert (error <= 0.5001 * made.scale).all()
    assert (made.scale[1:] > 1e4 * made.scale[:-1]).all()


def test_weights_that_are_whole_steps_stay_exact() -> None:
    linear = nn.Linear(5, 2)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[127.0, -127, 3, 0, 1], [-127, 64, 8, -2, 0]]) / 64)
    inputs = torch.randn(4, 5)
    torch.testing.assert_close(Int8Linear(linear)(inputs), linear(inputs))


def test_row_of_zeros_stays_zero() -> None:
    linear = nn.Linear(4, 2, bias=False)
    nn.init.zeros_(linear.weight)
    assert not Int8Linear(linear)(torch.ones(4)).any()


def test_norms_embedding_and_output_are_untouched(model: Any, tiny_model: Path) -> None:
    changed = quantised(tiny_model)
    before, after = model.state_dict(), changed.state_dict()
    same = {name for name, one in before.items() if one.dtype == after[name].dtype and torch.equal(one, after[name])}
    assert {name for name in before if "norm" in name or "embed" in name or "lm_head" in name} == same
    assert {type(one) for name, one in changed.named_modules() if name.endswith("_proj")} == {Int8Linear}


def test_scores_are_nearly_those_of_the_model(model: Any, tiny_model: Path) -> None:
    exact, made = scores(model), scores(quantised(tiny_model))
    assert 0 < (made - exact).norm() / exact.norm() < 0.05


def test_what_is_written_is_read_back_the_same(tiny_model: Path, tmp_path: Path) -> None:
    first, second = quantised(tiny_model), quantised(tiny_model)
    for one in second.buffers():
        one.zero_()
    save_file({name: one.clone() for name, one in first.state_dict().items()}, tmp_path / "model.safetensors")
    second.load_state_dict(load_file(tmp_path / "model.safetensors"), strict=True)
    for name, one in first.named_buffers():  # those that no file holds, as the angles of positions
        second.get_buffer(name).copy_(one)
    assert torch.equal(scores(first), scores(second))


def test_weights_take_a_quarter_where_layers_are_linear(model: Any, tiny_model: Path) -> None:
    linear = sum(one.weight.numel() for name, one in model.named_modules() if name.endswith("_proj"))
    rows = sum(one.out_features for name, one in model.named_modules() if name.endswith("_proj"))
    assert weights_bytes(model) - weights_bytes(quantised(tiny_model)) == 3 * linear - 4 * rows


def test_tied_weights_count_once() -> None:
    one, two = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
    two.weight = one.weight
    assert weights_bytes(nn.Sequential(one, two)) == 64


def test_model_without_linear_layers_is_refused() -> None:
    with pytest.raises(SpecError, match="no linear layers that int8 would make smaller"):
        quantise(GPT2LMHeadModel(GPT2Config(n_layer=1, n_embd=8, n_head=2, vocab_size=16)))
