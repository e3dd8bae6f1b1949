from __future__ import annotations

import functools
import socket
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor
from torch.optim import AdamW

from tests.training.parallel.ranks import WORLD, Ranks
from tests.training.parallel.shapes import LLAMA, SHAPES, batch
from tradewind.training.checkpoint import TrainingState
from tradewind.training.model import Decoder, update_balance
from tradewind.training.model.lora import add_adapters
from tradewind.training.optimizer import AdamW as TradewindAdamW
from tradewind.training.optimizer import Muon, total_norm
from tradewind.training.parallel import DistributedDecoder, Layout, Mesh, Precision, gathered, sharding
from tradewind.training.parallel.exchanged import hosts_of_ranks
from tradewind.training.parallel.parts import fill, part_of
from tradewind.training.precision.working import working

SEED = 3
SCALE = 1 / 64
TIGHT: dict[str, Any] = {"rtol": 2e-5, "atol": 2e-6}


@functools.cache
def mesh_of(layout: Layout) -> Mesh:
    return Mesh.of(layout, torch.device("cpu"))


@functools.cache
def alone(family: str, *, with_documents: bool, z_loss: float) -> tuple[float, dict[str, Tensor], float]:
    """Loss, gradients and their norm of one process that computes everything."""
    decoder = Decoder(SHAPES[family])
    decoder.initialize(SEED)
    tokens, targets, documents = batch()
    loss, _ = decoder.loss(tokens, targets, documents=documents if with_documents else None, z_loss=z_loss)
    (loss * SCALE).backward()  # type: ignore[no-untyped-call]
    gradients = {name: weight.grad for name, weight in decoder.named_parameters() if weight.grad is not None}
    norm = torch.stack([gradient.norm() for gradient in gradients.values()]).norm()
    return loss.item(), gradients, norm.item()


def part(value: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """What this rank has, and what it should have of the whole."""
    return (like.to_local(), part_of(value, like)) if isinstance(like, DTensor) else (like, value)


def compare(family: str, axes: dict[str, Any], with_documents: bool, passes: int, z_loss: float) -> int:
    layout = Layout.of(WORLD, shape=SHAPES[family], tokens_per_sequence=16, sequences=8 // passes, **axes)
    mesh = mesh_of(layout)
    decoder = DistributedDecoder(SHAPES[family], mesh, z_loss=z_loss)
    decoder.initialize(SEED)
    expected_loss, expected, expected_norm = alone(family, with_documents=with_documents, z_loss=z_loss)

    mine = [value.chunk(layout.data_world)[mesh.data_rank].chunk(passes) for value in batch()]
    total = torch.zeros(())
    for number, (tokens, targets, documents) in enumerate(zip(*mine, strict=True)):
        total += decoder.train_pass(
            tokens, targets, documents if with_documents else None, scale=SCALE, is_last=number == passes - 1
        )
    dist.all_reduce(total.mul_(mesh.counts_losses))
    torch.testing.assert_close(total.item(), expected_loss, rtol=1e-6, atol=1e-6)

    for name, weight in decoder.named_parameters():
        assert weight.grad is not None, name
        torch.testing.assert_close(*part(expected[name], weight.grad), **TIGHT, msg=lambda text: f"{name}: {text}")  # noqa: B023
    gradients = [weight.grad for weight in decoder.parameters() if weight.grad is not None]
    norm = total_norm(gradients, layout.world // layout.pipeline, dist.group.WORLD)
    torch.testing.assert_close(norm.item(), expected_norm, rtol=1e-5, atol=0.0)

    loss = sum(
        decoder.evaluate_pass(tokens, targets, documents if with_documents else None)
        for tokens, targets, documents in zip(*mine, strict=True)
    )
    assert isinstance(loss, Tensor)
    dist.all_reduce(loss.mul_(mesh.counts_losses))
    torch.testing.assert_close(loss.item(), expected_loss, rtol=1e-6, atol=1e-6)
    return len(list(decoder.parameters()))


DENSE: list[dict[str, Any]] = [
    {"zero": 3},
    {"zero": 2},
    {"zero": 1},
    {"zero": 0},
    {"replicate": 2},
    {"replicate": 2, "zero": 2},
    {"replicate": 4},
    {"tensor": 2},
    {"tensor": 2, "zero": 0},
    {"tensor": 2, "replicate": 2},
    {"context": 2},
    {"context": 4},
    {"context": 2, "tensor": 2},
    {"context": 2, "replicate": 2},
]
PIPELINES: list[dict[str, Any]] = [
    {"pipeline": 4},
    {"pipeline": 2},
    {"pipeline": 2, "zero": 0},
    {"pipeline": 2, "zero": 2},
    {"pipeline": 2, "tensor": 2},
    {"pipeline": 2, "context": 2},
    {"pipeline": 2, "schedule": "interleaved"},
    {"pipeline": 2, "schedule": "interleaved", "tensor": 2},
    {"pipeline": 2, "schedule": "interleaved", "microbatches": 4},
]
EXPERT: list[dict[str, Any]] = [
    {"expert": 4},
    {"expert": 2},
    {"expert": 2, "replicate": 2},
    {"expert": 2, "context": 2},
    {"expert": 4, "context": 2},
    {"expert": 2, "tensor": 2},
    {"expert": 2, "pipeline": 2},
    {"expert": 2, "pipeline": 2, "schedule": "interleaved"},
    {"tensor": 2, "pipeline": 2},
    {"context": 4},
]


@pytest.mark.parametrize("axes", DENSE, ids=str)
def test_loss_and_gradients_are_those_of_one_process(ranks: Ranks, axes: dict[str, Any]) -> None:
    ranks.run(compare, "llama", axes, True, 1, 0.0)


@pytest.mark.parametrize("axes", PIPELINES, ids=str)
def test_pipelines_give_what_one_process_gives(ranks: Ranks, axes: dict[str, Any]) -> None:
    ranks.run(compare, "llama", axes, True, 1, 0.0)


@pytest.mark.parametrize("axes", EXPERT, ids=str)
@pytest.mark.parametrize("family", ["deepseek", "qwen3_moe"])
def test_experts_give_what_one_process_gives(ranks: Ranks, family: str, axes: dict[str, Any]) -> None:
    ranks.run(compare, family, axes, True, 1, 0.0)


@pytest.mark.parametrize("axes", [{}, {"tensor": 2}, {"context": 2}], ids=str)
@pytest.mark.parametrize("family", ["tied", "qwen2", "qwen3", "deepseek"])
def test_each_family_gives_what_one_process_gives(ranks: Ranks, family: str, axes: dict[str, Any]) -> None:
    ranks.run(compare, family, axes, False, 1, 1e-3)


def test_a_model_can_be_cut_by_tensor_alone(ranks: Ranks) -> None:
    ranks.run(compare, "deepseek", {"tensor": 4}, True, 1, 1e-3)


@pytest.mark.parametrize("zero", [1, 2, 3])
@pytest.mark.parametrize("axes", [{}, {"replicate": 2}, {"tensor": 2}, {"expert": 2}, {"pipeline": 2}], ids=str)
def test_passes_add_up_to_one_batch(ranks: Ranks, axes: dict[str, Any], zero: int) -> None:
    ranks.run(compare, "deepseek", {**axes, "zero": zero}, True, 2, 0.0)


def test_passes_of_whole_copies_add_up_to_one_batch(ranks: Ranks) -> None:
    ranks.run(compare, "llama", {"zero": 0}, True, 2, 0.0)


def step(family: str, axes: dict[str, Any]) -> None:
    """Two optimizer steps against those of one process."""
    layout = Layout.of(WORLD, shape=SHAPES[family], **axes)
    mesh = mesh_of(layout)
    decoder, whole = DistributedDecoder(SHAPES[family], mesh), Decoder(SHAPES[family])
    whole.initialize(SEED)
    decoder.initialize(SEED)
    optimizers = [AdamW(which.parameters(), lr=1e-3, eps=1e-4) for which in (decoder, whole)]
    tokens, targets, _ = batch()
    for _ in range(2):
        mine = [value.chunk(layout.data_world)[mesh.data_rank] for value in (tokens, targets)]
        decoder.train_pass(*mine, scale=SCALE)
        decoder.evaluate_pass(*mine)
        (whole.loss(tokens, targets)[0] * SCALE).backward()  # type: ignore[no-untyped-call]
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    expected = dict(whole.named_parameters())
    for name, weight in decoder.named_parameters():
        torch.testing.assert_close(*part(expected[name].detach(), weight.detach()), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("axes", [{}, {"tensor": 2}, {"zero": 0}, {"expert": 2, "tensor": 2}, {"pipeline": 2}], ids=str)
def test_weights_after_steps_are_those_of_one_process(ranks: Ranks, axes: dict[str, Any]) -> None:
    ranks.run(step, "deepseek", axes)


def balance(axes: dict[str, Any]) -> None:
    layout = Layout.of(WORLD, shape=SHAPES["deepseek"], **axes)
    mesh = mesh_of(layout)
    decoder, whole = DistributedDecoder(SHAPES["deepseek"], mesh), Decoder(SHAPES["deepseek"])
    whole.initialize(SEED)
    decoder.initialize(SEED)
    tokens, targets, documents = batch()
    whole.loss(tokens, targets, documents=documents)
    update_balance(whole, group=dist.new_subgroups(1)[0])  # type: ignore[no-untyped-call]
    mine = [value.chunk(layout.data_world)[mesh.data_rank] for value in (tokens, targets, documents)]
    decoder.train_pass(*mine, scale=SCALE)
    decoder.balance_experts()
    expected = {name: value for name, value in whole.state_dict().items() if name.endswith("correction_bias")}
    biases = {name: value for name, value in decoder.state_dict().items() if name.endswith("correction_bias")}
    assert biases
    for name, value in biases.items():
        torch.testing.assert_close(value, expected[name])


@pytest.mark.parametrize("axes", [{}, {"tensor": 2}, {"context": 2}, {"pipeline": 2}, {"expert": 2}], ids=str)
def test_experts_are_balanced_by_the_visits_of_all_tokens(ranks: Ranks, axes: dict[str, Any]) -> None:
    ranks.run(balance, axes)


def adapt(axes: dict[str, Any]) -> None:
    """A pass through adapters, whose second factor is drawn too, against that of one process."""
    layout = Layout.of(WORLD, shape=LLAMA, **axes)
    mesh = mesh_of(layout)

    def add(model: Decoder) -> None:
        add_adapters(model, rank=4, alpha=8)

    decoder, whole = DistributedDecoder(LLAMA, mesh, before_cutting=add), Decoder(LLAMA)
    add(whole)
    whole.initialize(SEED)
    decoder.initialize(SEED)
    values = dict(whole.named_parameters())
    for name, value in values.items():
        if "lora_B" in name:
            torch.nn.init.normal_(value, std=0.1, generator=torch.Generator().manual_seed(len(name)))
    for name, weight in decoder.named_parameters():
        fill(weight, values[name].detach())
    tokens, targets, documents = batch()
    loss, _ = whole.loss(tokens, targets, documents=documents)
    (loss * SCALE).backward()  # type: ignore[no-untyped-call]
    decoder.train_pass(
        *(value.chunk(layout.data_world)[mesh.data_rank] for value in (tokens, targets, documents)), scale=SCALE
    )
    for name, weight in decoder.named_parameters():
        expected = values[name].grad
        assert weight.requires_grad == ("lora_" in name)
        if weight.requires_grad:
            assert expected is not None
            assert weight.grad is not None
            torch.testing.assert_close(*part(expected, weight.grad), **TIGHT)


@pytest.mark.parametrize("axes", [{}, {"tensor": 2}, {"pipeline": 2}], ids=str)
def test_adapters_learn_what_they_learn_in_one_process(ranks: Ranks, axes: dict[str, Any]) -> None:
    ranks.run(adapt, axes)


def in_half_precision(axes: dict[str, Any]) -> tuple[float, bool]:
    mesh = mesh_of(Layout.of(WORLD, **axes))
    decoder = DistributedDecoder(SHAPES["deepseek"], mesh, precision=Precision(compute=torch.bfloat16))
    decoder.initialize(SEED)
    mine = [value.chunk(mesh.data_world)[mesh.data_rank] for value in batch()]
    total = decoder.train_pass(*mine, scale=SCALE)
    dist.all_reduce(total.mul_(mesh.counts_losses))
    gradients = [weight.grad for weight in decoder.parameters() if weight.grad is not None]
    kept = {value.dtype for value in [*decoder.parameters(), *gradients]}
    return total.item(), kept == {torch.float32}


@pytest.mark.parametrize("axes", [{}, {"tensor": 2}, {"pipeline": 2}, {"expert": 2}], ids=str)
def test_products_in_bfloat16_leave_weights_and_gradients_in_float32(ranks: Ranks, axes: dict[str, Any]) -> None:
    expected, _, _ = alone("deepseek", with_documents=True, z_loss=0.0)
    assert ranks.run(in_half_precision, axes) == [(pytest.approx(expected, rel=1e-2), True)] * WORLD


def gathered_after(change: str) -> list[str]:
    """Names of the weights of which something else is gathered than what they are, after a change."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gathered, "SMALLEST", 0)
        mesh = mesh_of(Layout.of(WORLD))
        decoder = DistributedDecoder(SHAPES["llama"], mesh, precision=Precision(compute=torch.bfloat16))
    decoder.initialize(SEED)
    mine = [value.chunk(WORLD)[decoder.mesh.data_rank] for value in batch()]
    decoder.train_pass(*mine, scale=SCALE)
    with torch.no_grad():
        CHANGES[change](decoder)
    return [
        name
        for name, weight in decoder.named_parameters()
        if isinstance(weight, DTensor) and not torch.equal(working(weight, torch.bfloat16), bits(weight))
    ]


def bits(weight: DTensor) -> Tensor:
    return weight.to_local().detach().bfloat16()


def fill_as_a_checkpoint_does(decoder: DistributedDecoder) -> None:
    state = TrainingState(decoder.decoders, [])
    for value in state.weights().values():
        if isinstance(value, DTensor):
            value.to_local().copy_(value.to_local() + 1)
    state.filled({})


def fill_state(decoder: DistributedDecoder) -> None:
    for value in decoder.state_dict().values():
        if value.is_floating_point():
            value.copy_(value + 1)


CHANGES: dict[str, Callable[[DistributedDecoder], Any]] = {
    "AdamW": lambda decoder: TradewindAdamW(decoder.parameters(), lr=0.1).step(),
    "Muon": lambda decoder: Muon(decoder.named_parameters(), lr=0.1).step(),
    "initialize": lambda decoder: decoder.initialize(SEED + 1),
    "multiply": lambda decoder: [weight.mul_(2) for weight in decoder.parameters()],
    "state": fill_state,
    "checkpoint": fill_as_a_checkpoint_does,
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_gather_reads_what_a_weight_has_become(ranks: Ranks, change: str) -> None:
    assert ranks.run(gathered_after, change) == [[]] * WORLD


def with_small_groups(axes: dict[str, Any], exchanged: bool) -> tuple[float, dict[str, Tensor], int]:
    """Loss and this rank's gradients where each block, embedding and head is gathered by itself.

    With `exchanged` weights are gathered into their places and gradients exchanged, without it both as FSDP2 does it.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sharding, "SMALLEST_GROUP", 0)
        patch.setattr(gathered, "SMALLEST", 0 if exchanged else 2**20)
        if not exchanged:
            patch.setattr(sharding, "hosts_of_ranks", lambda: [f"host-{rank}" for rank in range(WORLD)])
        mesh = mesh_of(Layout.of(WORLD, **axes))
        decoder = DistributedDecoder(SHAPES["llama"], mesh, precision=Precision(compute=torch.bfloat16))
    decoder.initialize(SEED)
    mine = [value.chunk(mesh.data_world)[mesh.data_rank].chunk(2) for value in batch()]
    total = torch.zeros(())
    for number, passed in enumerate(zip(*mine, strict=True)):
        total += decoder.train_pass(*passed, scale=SCALE, is_last=number == 1)
    dist.all_reduce(total.mul_(mesh.counts_losses))
    gradients = {
        name: weight.grad.to_local() if isinstance(weight.grad, DTensor) else weight.grad
        for name, weight in decoder.named_parameters()
        if weight.grad is not None
    }
    return total.item(), gradients, sum(isinstance(module, FSDPModule) for module in decoder.stages[0].modules())


@pytest.mark.parametrize("axes", [{"zero": 3}, {"zero": 1}, {"tensor": 2}, {"pipeline": 2, "microbatches": 2}], ids=str)
def test_what_is_gathered_and_exchanged_gives_the_gradients_that_fsdp2_gives(
    ranks: Ranks, axes: dict[str, Any]
) -> None:
    expected_loss, _, _ = alone("llama", with_documents=True, z_loss=0.0)
    reduced, exchanged = (ranks.run(with_small_groups, axes, way) for way in (False, True))
    for (loss, expected, modules), (same_loss, gradients, _) in zip(reduced, exchanged, strict=True):
        assert modules >= 4
        assert loss == same_loss == pytest.approx(expected_loss, rel=1e-2)
        assert expected.keys() == gradients.keys()
        for name, gradient in gradients.items():
            torch.testing.assert_close(gradient, expected[name], rtol=1e-5, atol=1e-8)


def test_all_ranks_know_where_all_are(ranks: Ranks) -> None:
    assert ranks.run(hosts_of_ranks) == [[socket.gethostname()] * WORLD] * WORLD
