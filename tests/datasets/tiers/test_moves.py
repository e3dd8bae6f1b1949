"""Carrying out plans on a shelf in memory: interruptions, rivals, and runs that begin meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from tests.datasets.trading import GONE, LIVE, LONG_AGO, NAME, Shelf
from tradewind.clusters import is_gone, this_process
from tradewind.datasets.tiers.moves import BATCH, Mover, tier_log
from tradewind.datasets.tiers.placement import Plan, Version, plan
from tradewind.datasets.tiers.policy import DaysPolicy
from tradewind.errors import ArchivedError, ConflictError, SpecError
from tradewind.records import TierChange, now
from tradewind.storage import Store, open_store

KEYS = [f"datasets/{NAME}/data/{number:04d}.tok" for number in range(3 * BATCH)]
FREE: Callable[[], Mapping[int, tuple[str, ...]]] = lambda: {1: (), 2: ("newest version",)}  # noqa: E731


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path))


@pytest.fixture
def shelf() -> Shelf:
    return Shelf(dict.fromkeys(KEYS, "STANDARD"), dict.fromkeys(KEYS, 100))


def planned(shelf: Shelf) -> Plan:
    versions = [
        Version(NAME, 1, {"train": dict.fromkeys(KEYS, 100)}, (LONG_AGO,)),
        Version(NAME, 2, {"train": {}}, (LONG_AGO,), ("newest version",)),
    ]
    return plan(NAME, versions, shelf.list(f"datasets/{NAME}/data"), DaysPolicy(), cloud="s3", at=now())


def mover(store: Store, shelf: Shelf, *, gone: Callable[..., bool] = is_gone) -> Mover:
    return Mover(store, shelf, this_process(), gone)


def step(number: int, status: str, *, mover: str = "rival", process: object = LIVE, ago_s: float = 0) -> TierChange:
    return TierChange.model_validate(
        {
            "name": NAME, "change": number, "writer": "w", "mover": mover, "status": status, "cloud": "s3",
            "policy": "p", "process": process, "created_at": now() - timedelta(seconds=ago_s),
        }
    )  # fmt: skip


def test_all_is_moved_and_recorded(store: Store, shelf: Shelf) -> None:
    change = mover(store, shelf).apply(planned(shelf), FREE)
    assert sorted(key for key, _ in shelf.moved) == KEYS
    assert {name for _, name in shelf.moved} == {"DEEP_ARCHIVE"}
    (move,) = change.moves
    assert (move.version, move.before, move.after, move.num_objects, move.num_bytes) == (
        1, "hot", "archive", len(KEYS), 100 * len(KEYS),
    )  # fmt: skip
    assert [one.status for one in tier_log(store, NAME).all()] == ["going", "ended"]


def test_missing_class_moves_nothing_and_records_nothing(store: Store, shelf: Shelf) -> None:
    shelf.missing = ("DEEP_ARCHIVE",)
    with pytest.raises(SpecError, match="no class DEEP_ARCHIVE"):
        mover(store, shelf).apply(planned(shelf), FREE)
    assert shelf.moved == []
    assert list(tier_log(store, NAME).all()) == []


def test_failure_in_the_middle_is_recorded_and_the_next_call_moves_the_rest(store: Store, shelf: Shelf) -> None:
    shelf.fails_at = BATCH + 5
    with pytest.raises(ArchivedError):
        mover(store, shelf).apply(planned(shelf), FREE)
    failed = tier_log(store, NAME).latest()
    assert failed.status == "failed"
    assert "is archived" in failed.message
    assert sum(move.num_objects for move in failed.moves) == len(shelf.moved) < len(KEYS)
    shelf.fails_at, before = None, len(shelf.moved)
    change = mover(store, shelf).apply(planned(shelf), FREE)
    assert sum(move.num_objects for move in change.moves) == len(KEYS) - before
    assert set(shelf.names.values()) == {"DEEP_ARCHIVE"}


def test_run_that_begins_meanwhile_keeps_what_is_left(store: Store, shelf: Shelf) -> None:
    asked = []

    def held() -> dict[int, tuple[str, ...]]:
        asked.append(1)
        return {1: ("live run late",) if len(asked) > 1 else (), 2: ()}

    change = mover(store, shelf).apply(planned(shelf), held)
    assert len(shelf.moved) == BATCH
    assert change.held_back == len(KEYS) - BATCH


def test_version_that_is_made_meanwhile_stops_the_moving(store: Store, shelf: Shelf) -> None:
    with pytest.raises(ConflictError, match="has a new version"):
        mover(store, shelf).apply(planned(shelf), lambda: {1: (), 2: (), 3: ()})
    assert shelf.moved == []


def test_second_mover_is_refused_while_the_first_lives(store: Store, shelf: Shelf) -> None:
    store.create(f"datasets/{NAME}/tiers/{1:012d}.json", step(1, "going").to_json())
    with pytest.raises(ConflictError, match="process 1 on elsewhere is moving logbook"):
        mover(store, shelf).apply(planned(shelf), FREE)
    assert shelf.moved == []


@pytest.mark.parametrize(
    "steps",
    [
        [step(1, "going"), step(2, "ended")],
        [step(1, "going"), step(2, "failed")],
        [step(1, "going", process=GONE)],
        [step(1, "going", ago_s=7 * 3600)],
        [step(1, "going"), step(2, "ended"), step(3, "going", mover="other", process=GONE)],
    ],
    ids=["ended", "failed", "gone", "abandoned", "several"],
)
def test_mover_that_is_over_is_not_waited_for(store: Store, shelf: Shelf, steps: list[TierChange]) -> None:
    for one in steps:
        store.create(f"datasets/{NAME}/tiers/{one.change:012d}.json", one.to_json())
    mover(store, shelf).apply(planned(shelf), FREE)
    assert len(shelf.moved) == len(KEYS)


def test_of_two_that_begin_at_once_one_is_refused(store: Store, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    log = type(tier_log(store, NAME))
    append = log.append

    def rival_first(self: object, make: object) -> object:
        monkeypatch.undo()
        store.create(f"datasets/{NAME}/tiers/{1:012d}.json", step(1, "going").to_json())
        return append(self, make)  # type: ignore[arg-type]

    monkeypatch.setattr(log, "append", rival_first)
    with pytest.raises(ConflictError, match="has just begun to move logbook"):
        mover(store, shelf).apply(planned(shelf), FREE)
    assert shelf.moved == []
