from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import Shard, distribute_tensor

from tests.training.conftest import Ranks
from tests.training.model.shapes import SHAPES
from tradewind.families import ModelShape, parameters
from tradewind.training.model import Decoder, initialization
from tradewind.training.model.shards import local_part

WORLD = 4


def sharded(shape: ModelShape, *, tensor: int) -> Decoder:
    """A model on this rank of four: `tensor` ranks share the feed-forward's matrices, FSDP2 shards over the rest.

    Its weights are those of seed 1, cut by torch.
    """
    model = Decoder(shape)
    model.initialize(1)
    mesh = init_device_mesh("cpu", (WORLD // tensor, tensor), mesh_dim_names=("shard", "tensor"))
    if tensor > 1:
        for name, module in model.named_modules():
            if name.endswith(("up_proj", "down_proj")):
                cut = Shard(1 if name.endswith("down_proj") else 0)
                assert isinstance(module, torch.nn.Linear)
                part = distribute_tensor(module.weight, mesh["tensor"], [cut], src_data_rank=None)
                module.weight = torch.nn.Parameter(part)
    for layer in model.model.layers.values():
        fully_shard(layer, mesh=mesh["shard"])
    fully_shard(model, mesh=mesh["shard"])
    return model


def whole(shape: ModelShape, seed: int = 1) -> dict[str, Tensor]:
    model = Decoder(shape)
    model.initialize(seed)
    return model.state_dict()


def assert_parts_of(model: Decoder, state: dict[str, Tensor]) -> int:
    """Each local tensor is the part of the whole that it says it is. Gives the number of elements here."""
    count = 0
    for name, weight in model.named_parameters():
        local, offsets = local_part(weight)
        inside = tuple(slice(first, first + size) for first, size in zip(offsets, local.shape, strict=True))
        assert torch.equal(local, state[name][inside]), name
        count += local.numel()
    return count


def draws_its_part(shape: ModelShape, tensor: int) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(initialization, "BLOCK_ELEMENTS", 300)  # some blocks to a matrix, and none at a shard's edge
        state, model = whole(shape), sharded(shape, tensor=tensor)
        count = assert_parts_of(model, state)
        model.to_empty(device="cpu")
        model.initialize(1)
    assert_parts_of(model, state)
    return count


@pytest.mark.parametrize("tensor", [1, 2, 4])
@pytest.mark.parametrize("name", ["untied", "deepseek v3"])
def test_each_rank_draws_its_part_of_the_same_weights(name: str, tensor: int, ranks: Ranks) -> None:
    counts = ranks.run(draws_its_part, SHAPES[name], tensor, world=WORLD)
    assert sum(counts) >= parameters(SHAPES[name])


def rows_of_twice_cut() -> tuple[int, int]:
    state = torch.arange(26.0 * 6).view(26, 6)
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("shard", "tensor"))
    linear = torch.nn.Linear(6, 26, bias=False)
    linear.weight = torch.nn.Parameter(distribute_tensor(state.clone(), mesh["tensor"], [Shard(0)], src_data_rank=None))
    fully_shard(linear, mesh=mesh["shard"])
    local, offsets = local_part(linear.weight)
    assert torch.equal(local, state[offsets[0] : offsets[0] + len(local)])
    return offsets[0], len(local)


def test_parts_of_all_ranks_make_the_whole_when_cut_twice(ranks: Ranks) -> None:
    """Tensor parallelism cuts rows first, and FSDP2 cuts each part again: where a part lies must come out of both."""
    parts = ranks.run(rows_of_twice_cut, world=WORLD)
    assert sorted(row for first, count in parts for row in range(first, first + count)) == list(range(26))
    assert parts[1][0] > parts[2][0]  # rank 1 is the second half's first part


def test_no_more_than_a_block_is_drawn_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(initialization, "BLOCK_ELEMENTS", 64)
    drawn: list[int] = []
    normal = Tensor.normal_

    def watched(self: Tensor, *args: float, **kwargs: torch.Generator) -> Tensor:
        drawn.append(self.numel())
        return normal(self, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Tensor, "normal_", watched)
    initialization._draw("w", torch.empty(100, 16), 0, 1.0)
    assert max(drawn) == 64
    assert sum(drawn) == 100 * 16


def test_seed_decides_the_first_weights() -> None:
    states = [whole(SHAPES["untied"], seed) for seed in (1, 1, 2)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not torch.equal(states[0]["lm_head.weight"], states[2]["lm_head.weight"])


def test_no_two_matrices_are_alike() -> None:
    state = whole(SHAPES["llama"])
    first, second = (state[f"model.layers.{layer}.mlp.up_proj.weight"] for layer in (0, 1))
    assert not torch.equal(first, second)
    assert not torch.equal(first, state["model.layers.0.mlp.gate_proj.weight"])


def test_first_weights_have_the_deviations_of_gpt2() -> None:
    state = whole(ModelShape("llama", 500, 128, 4, 4, 4, 32, 256, 40, tied=True), seed=0)
    assert state["model.embed_tokens.weight"].std() == pytest.approx(0.02, rel=0.05)
    for name in ("self_attn.o_proj", "mlp.down_proj"):
        assert state[f"model.layers.0.{name}.weight"].std() == pytest.approx(0.02 / math.sqrt(8), rel=0.05)
    assert (state["model.norm.weight"] == 1).all()


def test_experts_begin_as_feed_forwards_do() -> None:
    state = whole(SHAPES["deepseek v3"])
    block = "model.layers.1.mlp.experts"
    assert state[f"{block}.gate_up_proj"].std() == pytest.approx(0.02, rel=0.05)
    assert state[f"{block}.down_proj"].std() == pytest.approx(0.02 / math.sqrt(6), rel=0.05)
    assert not state["model.layers.1.mlp.gate.e_score_correction_bias"].any()
    assert not whole(SHAPES["qwen2"])["model.layers.0.self_attn.q_proj.bias"].any()
