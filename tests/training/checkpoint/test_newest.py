from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from tests.training.checkpoint.crew import record, run_files
from tradewind.errors import IntegrityError, SpecError
from tradewind.storage import Store
from tradewind.training.checkpoint import Checkpointer, TrainingState, newest_whole, resume

FILE = "000000002-abcd-2/__0_0.distcp"
METADATA = "000000002-abcd-2/.metadata"
RECORD = "000000002.json"


def model(value: float = 0.0, *, width: int = 3) -> nn.Module:
    made = nn.Linear(width, width)
    nn.init.constant_(made.weight, value)
    return made


def trained(store: Store, *steps: int) -> None:
    with Checkpointer(run_files(store), "abcd") as checkpointer:
        for step in steps:
            checkpointer.begin(TrainingState([model(step)], []).to_save(), record(step))


def key(name: str) -> str:
    return f"runs/first/checkpoints/{name}"


def cut(data: bytes) -> bytes:
    return data[:-1]


def flip(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def empty(data: bytes) -> bytes:
    return b""


@pytest.mark.parametrize("name", [FILE, METADATA, RECORD])
@pytest.mark.parametrize("harm", [cut, flip, empty, None])
def test_damaged_checkpoint_is_refused_and_the_one_before_is_used(
    store: Store, name: str, harm: Callable[[bytes], bytes] | None, capsys: pytest.CaptureFixture[str]
) -> None:
    trained(store, 1, 2)
    if harm:
        store.put(key(name), harm(store.get(key(name))) if name != RECORD else harm(store.get(key(name)))[:-5])
    else:
        store.delete(key(name))
    net = model()
    found = resume(run_files(store), TrainingState([net], []))
    assert found is not None
    assert found.step == 1
    assert torch.equal(net.state_dict()["weight"], torch.ones(3, 3))
    if name == RECORD and harm is None:  # then there never was a second one
        return
    said = capsys.readouterr().err
    assert "WARNING" in said
    assert f"{key(RECORD)} is refused; checkpoint:first/1 is used instead" in said


def test_step_of_a_refused_one_can_be_made_again(store: Store) -> None:
    trained(store, 1, 2)
    store.delete(key(FILE))
    resume(run_files(store), TrainingState([model()], []))
    trained(store, 2)
    net = model()
    found = resume(run_files(store), TrainingState([net], []))
    assert found is not None
    assert found.step == 2
    assert torch.equal(net.state_dict()["weight"], torch.full((3, 3), 2.0))


def test_run_without_checkpoints_begins_anew(store: Store) -> None:
    assert resume(run_files(store), TrainingState([model()], [])) is None
    assert newest_whole(run_files(store)) == (None, ())


def test_run_of_which_none_is_whole_does_not_begin_anew(store: Store) -> None:
    trained(store, 1, 2)
    store.delete(key(FILE))
    store.delete(key(FILE.replace("2", "1")))
    with pytest.raises(IntegrityError, match="none of the 2 checkpoints of run first is whole"):
        resume(run_files(store), TrainingState([model()], []))


def test_missing_and_cut_files_are_seen_without_reading_them(store: Store) -> None:
    trained(store, 1, 2, 3)
    store.delete(key("000000003-abcd-3/__0_0.distcp"))
    store.put(key(FILE), cut(store.get(key(FILE))))
    found, refused = newest_whole(run_files(store))
    assert found is not None
    assert found.step == 1
    assert [one.key for one in refused] == [key("000000003.json"), key("000000002.json")]
    assert "has lost its file" in refused[0].error.message
    assert "bytes instead of" in refused[1].error.message


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (model(width=4), r"weight has shape \(3, 3\) in checkpoint:first/1, and \(4, 4\) here"),
        (nn.Sequential(nn.Linear(3, 3)), "has no model.0.weight"),
    ],
)
def test_checkpoint_of_another_model_is_a_clear_error(store: Store, other: Any, said: str) -> None:
    trained(store, 1)
    with pytest.raises(SpecError, match=said):
        resume(run_files(store), TrainingState([other], []))
