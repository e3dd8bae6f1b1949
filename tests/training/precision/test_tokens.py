"""Blocks whose matrices are cut over ranks, against whole ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.distributed._functional_collectives import AsyncCollectiveTensor

from tests.training.precision.test_block import SMALL
from tradewind.training.model import Decoder
from tradewind.training.optimizer import AdamW
from tradewind.training.parallel import DistributedDecoder, Layout, Mesh
from tradewind.training.precision import accelerate
from tradewind.training.precision.accelerated import fuse
from tradewind.training.precision.block import How
from tradewind.training.precision.products import Float8
from tradewind.training.precision.tokens import Cut, Whole, arrived

SHAPE = replace(SMALL, layers=4, context=16)


def train(layout: dict[str, int], sequences: int, *, in_float8: bool = False) -> list[tuple[float, float]]:
    """Loss and norm of three steps of fused blocks under a layout, in float32 or in float8 with a scale a row."""
    cut = Layout.of(torch.distributed.get_world_size(), **layout)  # type: ignore[arg-type]
    mesh = Mesh.of(cut, torch.device("cpu"))
    group = mesh.weights.get_group("tensor") if cut.tensor > 1 else None

    def prepare(decoder: Decoder) -> None:
        accelerate(decoder, compute="float32", tensor_group=group)
        if in_float8:
            how = How(Float8("rowwise", result=torch.float32), Whole() if group is None else Cut(group))
            for layer in decoder.model.layers.values():
                fuse(layer, how)

    model = DistributedDecoder(SHAPE, mesh, before_sharding=prepare)
    model.initialize(0)
    optimizer = AdamW(model.parameters(), lr=1e-2)
    tokens = torch.randint(0, 96, (sequences, 17), generator=torch.Generator().manual_seed(1))
    mine = tokens.chunk(cut.data_world)[mesh.data_rank]
    return [one_step(model, optimizer, mine) for _ in range(3)]


def one_step(model: DistributedDecoder, optimizer: AdamW, tokens: torch.Tensor) -> tuple[float, float]:
    loss = model.train_pass(tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous(), scale=1 / 64)
    torch.distributed.all_reduce(loss.mul_(model.mesh.counts_losses))
    ranks = model.layout.world // model.layout.pipeline
    norm = optimizer.step(max_norm=0.5, stage_ranks=ranks, group=torch.distributed.group.WORLD)
    optimizer.zero_grad()
    return loss.item(), norm.item()


@pytest.mark.parametrize("sequences", [2, 4])
@pytest.mark.parametrize("layout", [{"tensor": 2}, {"zero": 3}, {"pipeline": 2, "microbatches": 2}])
def test_every_layout_trains_as_one_rank_does(ranks: Any, layout: dict[str, int], sequences: int) -> None:
    (alone,) = ranks.run(train, {}, sequences, world=1)
    for found in ranks.run(train, layout, sequences, world=2):
        for got, wanted in zip(found, alone, strict=True):
            assert got == pytest.approx(wanted, rel=1e-4)


def train_in_float8(layout: dict[str, int], sequences: int) -> list[tuple[float, float]]:
    return train(layout, sequences, in_float8=True)


def test_scales_of_rows_need_no_agreement_over_ranks(ranks: Any) -> None:
    ((exact, *_),) = ranks.run(train, {}, 2, world=1)
    for (loss, norm), *_ in ranks.run(train_in_float8, {"tensor": 2}, 2, world=2):
        assert loss != exact[0]
        assert loss == pytest.approx(exact[0], rel=1e-3)
        assert norm == pytest.approx(exact[1], rel=2e-2)


def test_what_a_collective_still_writes_is_waited_for_and_laid_bare() -> None:
    wrapped = AsyncCollectiveTensor(torch.arange(6.0).view(2, 3))
    assert type(arrived(wrapped)) is torch.Tensor
    assert torch.equal(arrived(wrapped), torch.arange(6.0).view(2, 3))


def test_what_is_not_contiguous_is_made_so() -> None:
    assert arrived(torch.ones(2, 3).t()).is_contiguous()
