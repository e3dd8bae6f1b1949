from __future__ import annotations

import urllib.request
from pathlib import Path

import pytest

from tests.serving.trials.conftest import echo_spec
from tradewind.errors import RunError, SpecError
from tradewind.ledger import Ledger
from tradewind.serving.trials.berth import berth
from tradewind.storage import Store


@pytest.mark.slow
def test_replica_answers_while_it_lies_there_and_tells_the_ledger(store: Store, tmp_path: Path) -> None:
    with berth(store, echo_spec(tmp_path, law={"context": 99}), team="pilots") as replica:
        assert (replica.model, replica.context) == ("chat", 99)
        assert replica.start_s > 0
        urllib.request.urlopen(f"{replica.url}/health").close()
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"{replica.url}/health")
    (row,) = Ledger(store).rows()
    assert (row.subject, row.team) == ("endpoint:chat", "pilots")


def test_what_keeps_an_engine_from_starting_is_raised_here(store: Store, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no setting 'frist_s'"), berth(store, echo_spec(tmp_path, law={"frist_s": 1})):
        pytest.fail("it started")


def test_process_that_dies_is_told_with_its_last_words(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tradewind.serving.trials.berth.MODULE", "no_such_module")
    with pytest.raises(RunError, match="No module named no_such_module"), berth(store, echo_spec(tmp_path)):
        pytest.fail("it started")
    assert "No module named no_such_module" in capsys.readouterr().err
