from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.training.model.shapes import SHAPES, ours, tokens
from tradewind.errors import SpecError
from tradewind.families import ModelShape
from tradewind.training.hugging_face import full_tensors, load_into, write_weights
from tradewind.training.model import Decoder
from tradewind.training.model.lora import LoraLinear, adapter_config, adapter_state, add_adapters, load_adapters

kinds = pytest.mark.parametrize("name", ["grouped", "qwen2", "deepseek v3"])


def adapted(shape: ModelShape, *, trained: bool = True) -> Decoder:
    model = ours(shape)
    parameters = add_adapters(model, rank=4, alpha=8)
    generator = torch.Generator().manual_seed(8)
    with torch.no_grad():
        for parameter in parameters if trained else ():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model


@kinds
def test_untrained_adapters_change_nothing(name: str) -> None:
    shape = SHAPES[name]
    with torch.inference_mode():
        assert torch.equal(adapted(shape, trained=False)(tokens(shape)), ours(shape)(tokens(shape)))


@kinds
def test_merged_weights_give_the_logits_of_the_adapted_model(name: str) -> None:
    shape = SHAPES[name]
    model, merged = adapted(shape), Decoder(shape).eval()
    missing, unknown = merged.load_state_dict(dict(full_tensors(model)), strict=False)
    assert (missing, unknown) == (["lm_head.weight"] if shape.tied else [], [])
    with torch.inference_mode():
        logits = model(tokens(shape))
        torch.testing.assert_close(merged(tokens(shape)), logits, atol=1e-4, rtol=1e-4)
        assert not torch.allclose(ours(shape)(tokens(shape)), logits, atol=1e-2)


@kinds
def test_only_adapters_are_trained(name: str) -> None:
    model = adapted(SHAPES[name])
    model.loss(tokens(model.shape), tokens(model.shape))[0].backward()  # type: ignore[no-untyped-call]
    for parameter_name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == (".lora_" in parameter_name)


def test_state_has_the_names_and_shapes_of_peft() -> None:
    """As `get_peft_model_state_dict` gives them for rank 4 on these two projections of Llama."""
    model = ours(replace(SHAPES["grouped"], layers=1))
    add_adapters(model, rank=4, alpha=8, projections=("q_proj", "v_proj"))
    assert {name: tuple(weight.shape) for name, weight in adapter_state(model).items()} == {
        "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight": (4, 48),
        "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight": (48, 4),
        "base_model.model.model.layers.0.self_attn.v_proj.lora_A.weight": (4, 48),
        "base_model.model.model.layers.0.self_attn.v_proj.lora_B.weight": (16, 4),
    }
    config = adapter_config(model, base="llama-3.1-8b")
    assert (config["r"], config["lora_alpha"], config["target_modules"]) == (4, 8.0, ["q_proj", "v_proj"])


def test_adapters_are_read_back() -> None:
    shape = SHAPES["grouped"]
    model, other = adapted(shape), adapted(shape, trained=False)
    load_adapters(other, adapter_state(model))
    with torch.inference_mode():
        assert torch.equal(other(tokens(shape)), model(tokens(shape)))


def test_adapters_of_another_rank_of_projections_are_refused() -> None:
    model = ours(SHAPES["grouped"])
    add_adapters(model, rank=4, alpha=8, projections=("q_proj",))
    with pytest.raises(SpecError, match=r"lora_A.weight and \d+ more names of adapters are not on both sides"):
        load_adapters(model, adapter_state(adapted(SHAPES["grouped"])))


def test_unknown_projection_is_answered_with_the_nearest() -> None:
    with pytest.raises(SpecError, match=re.escape("no projection 'q_prj' (did you mean 'q_proj'?)")):
        add_adapters(Decoder(SHAPES["llama"]), rank=4, alpha=8, projections=("q_prj",))


def test_initialization_draws_one_side_and_leaves_the_product_at_zero() -> None:
    with torch.device("meta"):
        model = Decoder(SHAPES["grouped"])
        add_adapters(model, rank=4, alpha=8)
    model.to_empty(device="cpu")
    model.initialize(0)
    adapter = model.model.layers["0"].get_submodule("mlp.up_proj")
    assert isinstance(adapter, LoraLinear)
    assert adapter.lora_A.weight.std().item() == pytest.approx((3 * 48) ** -0.5, rel=0.2)
    assert not adapter.lora_B.weight.any()


def test_base_is_loaded_under_adapters(tmp_path: Path) -> None:
    shape = SHAPES["grouped"]
    write_weights(full_tensors(ours(shape)), shape, tmp_path)
    model = Decoder(shape)
    add_adapters(model, rank=4, alpha=8)
    model.initialize(9)
    load_into(model, tmp_path)
    with torch.inference_mode():
        assert torch.equal(model.eval()(tokens(shape)), ours(shape)(tokens(shape)))
