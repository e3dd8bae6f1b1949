from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from tests.datasets.trading import GONE, LIVE, LONG_AGO, add_run, add_versions
from tradewind.clusters import this_process
from tradewind.errors import IntegrityError
from tradewind.storage import Store, open_store
from tradewind.training.uses import Uses


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path))


def test_run_is_live_until_it_ends_or_its_process_is_gone(store: Store) -> None:
    (version,) = add_versions(store, [1])
    ended = LONG_AGO + timedelta(hours=1)
    add_run(store, "here", version, process=this_process())
    add_run(store, "elsewhere", version, process=LIVE)
    add_run(store, "gone", version, process=GONE)
    add_run(store, "over", version, process=this_process(), ended_at=ended)
    found = {use.run: use for use in Uses(store)()}
    assert {name: use.is_live for name, use in found.items()} == {
        "here": True,
        "elsewhere": True,
        "gone": False,
        "over": False,
    }
    assert found["over"].ended_at == ended
    assert found["elsewhere"].host == "elsewhere"
    assert all(use.reads("logbook", 1) and not use.reads("logbook", 2) for use in found.values())


def test_run_on_a_mixture_reads_all_of_its_datasets(store: Store) -> None:
    first, second = add_versions(store, [1], [2])
    start = add_run(store, "mixed", first)
    mixed = start.model_copy(update={"datasets": {"logbook@1": 1.0, "logbook@2": 3.0}})
    store.put("runs/mixed/run.json", mixed.to_json())
    (use,) = Uses(store)()
    assert use.reads("logbook", first.version)
    assert use.reads("logbook", second.version)


def test_it_is_asked_anew_with_each_call(store: Store) -> None:
    (version,) = add_versions(store, [1])
    uses = Uses(store)
    assert uses() == []
    add_run(store, "first", version)
    assert [use.is_live for use in uses()] == [True]
    add_run(store, "first", version, ended_at=LONG_AGO)
    assert [use.is_live for use in uses()] == [False]
    assert [start.run for start in uses.starts()] == ["first"]


def test_folder_without_a_run_is_none_and_a_damaged_run_is_an_error(store: Store) -> None:
    store.put("runs/half/metrics/1.jsonl", b"")
    assert Uses(store)() == []
    store.put("runs/broken/run.json", b"{")
    with pytest.raises(IntegrityError):
        Uses(store)()
