"""What is saved on one mesh is read on another, for weights, both optimizers and random numbers."""

from __future__ import annotations

import pytest
import torch

from tests.training.checkpoint.crew import Crew, Mesh, record, run_files
from tests.training.conftest import Ranks
from tradewind.errors import SpecError
from tradewind.storage import Store
from tradewind.training.checkpoint import Checkpointer, resume

pytestmark = pytest.mark.slow

ALONE: Mesh = {}
FSDP: Mesh = {"shard": 4}
PAIR: Mesh = {"shard": 2}
HYBRID: Mesh = {"replicate": 2, "shard": 2}
BOTH: Mesh = {"shard": 2, "tensor": 2}
TENSOR: Mesh = {"tensor": 2}


def world(mesh: Mesh) -> int:
    count = 1
    for size in mesh.values():
        count *= size
    return count


def trained(store: Store, mesh: Mesh, optimizer: str) -> dict[str, torch.Tensor]:
    crew = Crew(mesh, optimizer)
    crew.step(3)
    with Checkpointer(run_files(store), "abcd") as checkpointer:
        checkpointer.begin(crew.state.to_save(), record(3, optimizer=crew.state.optimizer))
    return crew.numbers()


def resumed(store: Store, mesh: Mesh, optimizer: str, *, steps: int = 0) -> dict[str, torch.Tensor]:
    crew = Crew(mesh, optimizer)
    found = resume(run_files(store), crew.state)
    assert found is not None
    crew.steps = found.step
    crew.step(steps)
    return crew.numbers()


def continued(store: Store, mesh: Mesh, optimizer: str) -> dict[str, torch.Tensor]:
    crew = Crew(mesh, optimizer)
    crew.step(5)
    return crew.numbers()


def assert_equal(mine: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert mine.keys() == theirs.keys()
    assert [name for name in mine if not torch.equal(mine[name], theirs[name])] == []


@pytest.mark.parametrize(
    ("before", "after", "optimizer"),
    [
        (FSDP, PAIR, "muon"),
        (PAIR, FSDP, "adamw"),
        (HYBRID, FSDP, "adamw"),
        (BOTH, FSDP, "adamw"),
        (FSDP, BOTH, "adamw"),
        (TENSOR, PAIR, "adamw"),
        (BOTH, ALONE, "adamw"),
        (HYBRID, ALONE, "muon"),
    ],
)
def test_state_moves_between_meshes(ranks: Ranks, store: Store, before: Mesh, after: Mesh, optimizer: str) -> None:
    saved = ranks.run(trained, store, before, optimizer, world=world(before))
    loaded = ranks.run(resumed, store, after, optimizer, world=world(after))
    for one in loaded:
        assert_equal(one, saved[0])


@pytest.mark.parametrize(("mesh", "optimizer"), [(PAIR, "adamw"), (BOTH, "adamw"), (ALONE, "fused")])
def test_same_mesh_goes_on_bit_by_bit(ranks: Ranks, store: Store, mesh: Mesh, optimizer: str) -> None:
    ranks.run(trained, store, mesh, optimizer, world=world(mesh))
    through = ranks.run(continued, store, mesh, optimizer, world=world(mesh))
    again = ranks.run(_two_more, store, mesh, optimizer, world=world(mesh))
    assert_equal(again[0], through[0])


def _two_more(store: Store, mesh: Mesh, optimizer: str) -> dict[str, torch.Tensor]:
    return resumed(store, mesh, optimizer, steps=2)


def drawn(store: Store, mesh: Mesh) -> float:
    crew = Crew(mesh)
    crew.step()
    torch.manual_seed(int(crew.state._data_rank) + 40)
    with Checkpointer(run_files(store), "abcd") as checkpointer:
        checkpointer.begin(crew.state.to_save(), record(1))
    return float(torch.rand(()))


def drawn_again(store: Store, mesh: Mesh) -> float:
    resume(run_files(store), Crew(mesh).state)
    return float(torch.rand(()))


def test_each_rank_draws_the_random_numbers_that_it_would_have_drawn(ranks: Ranks, store: Store) -> None:
    numbers = ranks.run(drawn, store, PAIR, world=2)
    assert numbers[0] != numbers[1]
    assert ranks.run(drawn_again, store, PAIR, world=2) == numbers
    assert len(ranks.run(drawn_again, store, FSDP, world=4)) == 4


def test_checkpoint_of_another_optimizer_is_refused_on_all_ranks(ranks: Ranks, store: Store) -> None:
    ranks.run(trained, store, PAIR, "adamw", world=2)
    with pytest.raises(SpecError, match=r"was trained with AdamW\+AdamW, and this is AdamW\+Muon"):
        ranks.run(resumed, store, PAIR, "muon", world=2)
