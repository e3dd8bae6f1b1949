"""What stays, whatever the records say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.datasets.trading import NAME
from tradewind.datasets.tiers.heat import Use
from tradewind.datasets.tiers.placement import Version, holds, plan
from tradewind.datasets.tiers.policy import CostPolicy, DaysPolicy, Policy
from tradewind.storage.classes.table import Cloud, StoredClass, classes

NOW = datetime(2026, 6, 1, tzinfo=UTC)
OLD = NOW - timedelta(days=300)


def version(number: int, *keys: str, held: tuple[str, ...] = (), ago: float = 300, removed: bool = False) -> Version:
    shards = dict.fromkeys(keys, 2**30)
    return Version(NAME, number, {"train": shards}, (NOW - timedelta(days=ago),), held, removed)


def stored(*keys: str, name: str = "STANDARD") -> list[StoredClass]:
    return [StoredClass(key, 2**30, name, OLD) for key in keys]


def test_shard_goes_where_the_hottest_of_its_versions_wants_it() -> None:
    versions = [version(1, "a", "b"), version(2, "b", ago=40), version(3, "c", held=("newest version",))]
    found = plan(NAME, versions, stored("a", "b", "c"), DaysPolicy(100), cloud="s3", at=NOW)
    assert {(move.key, move.after) for move in found.moves} == {("a", "archive")}
    lines = {(line.version, line.then): line.reason for line in found.lines}
    assert lines[2, "hot"] == "not accessed for 40 days"
    only = plan(NAME, versions, stored("a", "b", "c"), DaysPolicy(100), cloud="s3", at=NOW, only=1)
    assert {line.version for line in only.lines} == {1}
    assert [line.reason for line in only.lines if line.stays] == ["shared with logbook@2: not accessed for 40 days"]


def test_each_shard_is_counted_once() -> None:
    versions = [version(1, "a", "b"), version(2, "a", "b"), version(3, "b")]
    found = plan(NAME, versions, stored("a", "b"), DaysPolicy(30), cloud="s3", at=NOW)
    assert sum(line.num_objects for line in found.lines) == 2
    assert {move.key: move.version for move in found.moves} == {"a": 2, "b": 3}


def test_shard_named_by_two_splits_moves_once() -> None:
    one = Version(NAME, 1, {"train": {"a": 2**30}, "heldout": {"a": 2**30}}, (OLD,))
    found = plan(NAME, [one], stored("a"), DaysPolicy(30), cloud="s3", at=NOW)
    assert len(found.moves) == 1
    assert found.moves[0].versions == (1,)


def test_amounts_are_those_of_the_prices() -> None:
    found = plan(NAME, [version(1, "a")], stored("a"), CostPolicy(), cloud="s3", at=NOW)
    (line,) = found.lines
    assert (line.now, line.then) == ("hot", "cold")
    assert line.saves_usd_per_month is not None
    assert abs(line.saves_usd_per_month - 0.019) < 1e-5
    assert line.move_usd == 0
    assert line.read_usd == 0.03
    assert found.unknown == []


def test_unknown_prices_are_told_and_give_no_savings() -> None:
    found = plan(NAME, [version(1, "a")], stored("a", name="Hot"), DaysPolicy(30), cloud="azure", at=NOW)
    assert [move.after for move in found.moves] == ["archive"]
    assert found.lines[0].saves_usd_per_month is None
    assert found.to_dict()["saves_usd_per_month"] is None
    assert "retrieval price of azure Archive" in found.unknown


def test_object_of_another_class_and_object_that_is_lost_stay() -> None:
    objects = stored("a", name="INTELLIGENT_TIERING")
    found = plan(NAME, [version(1, "a", "lost")], objects, DaysPolicy(30), cloud="s3", at=NOW)
    assert found.moves == ()
    assert {line.reason for line in found.lines} == {"a class that is none of ours", "not there: tw datasets verify"}


def test_shards_that_only_removed_versions_name_are_left_alone() -> None:
    found = plan(NAME, [version(1, "a", removed=True)], stored("a"), DaysPolicy(30), cloud="s3", at=NOW)
    assert (found.lines, found.moves) == ((), ())


def test_reasons_to_stay_are_named() -> None:
    uses = [
        Use("busy", f"{NAME}@1", (), "quay", OLD, None, True),
        Use("late", f"{NAME}@2", (), "quay", OLD, NOW - timedelta(hours=3), False),
        Use("over", f"{NAME}@3", (), "quay", OLD, OLD, False),
    ]
    assert holds(NAME, [1, 2, 3, 4, 5], uses, at=NOW, tags={"gold": 4, "other": 9}) == {
        1: ("live run busy on quay",),
        2: ("run late of the last 3 h",),
        3: (),
        4: ("tag gold",),
        5: ("newest version",),
    }


times = st.floats(0, 500).map(lambda days: NOW - timedelta(days=days))
numbers = st.integers(1, 5)
datasets = st.one_of(
    numbers.map(lambda number: f"{NAME}@{number}"), st.sampled_from([NAME, f"{NAME}@gold", "x@1", "?"])
)
uses = st.builds(
    Use,
    run=st.text("abc", min_size=1, max_size=3),
    dataset=datasets,
    parents=st.lists(numbers.map(lambda number: f"dataset:{NAME}@{number}"), max_size=2).map(tuple),
    host=st.just("quay"),
    started_at=times,
    ended_at=st.none() | times,
    is_live=st.booleans(),
)
policies: st.SearchStrategy[Policy] = st.one_of(
    st.builds(DaysPolicy, st.floats(0, 400), coldest=st.sampled_from(["warm", "cold", "archive"])),
    st.builds(CostPolicy, coldest=st.sampled_from(["hot", "warm", "cold", "archive"])),
)
clouds: st.SearchStrategy[Cloud] = st.sampled_from(["s3", "gcs", "azure"])
contents = st.dictionaries(numbers, st.lists(st.sampled_from("abcdefgh"), max_size=5), min_size=1, max_size=5)


@settings(max_examples=400)
@given(contents, st.lists(uses, max_size=6), policies, clouds, st.data())
def test_object_that_a_live_run_uses_is_never_moved_whatever_the_records(
    held_keys: dict[int, list[str]], runs: list[Use], policy: Policy, cloud: Cloud, data: st.DataObject
) -> None:
    reasons = holds(NAME, list(held_keys), runs, at=NOW, tags=data.draw(st.dictionaries(st.just("gold"), numbers)))
    versions = [
        Version(
            NAME,
            number,
            {"train": {key: data.draw(st.integers(0, 2**40)) for key in keys}},
            tuple(sorted(data.draw(st.lists(times, max_size=4)))),
            reasons[number],
            data.draw(st.booleans()),
        )
        for number, keys in held_keys.items()
    ]
    names = st.sampled_from([*(one.name for one in classes(cloud).values()), "ANOTHER"])
    objects = [
        StoredClass(key, data.draw(st.integers(0, 2**40)), data.draw(names), data.draw(st.none() | times))
        for key in "abcdefgh"
    ]
    only = data.draw(st.none() | st.sampled_from(sorted(held_keys)))
    moved = {move.key for move in plan(NAME, versions, objects, policy, cloud=cloud, at=NOW, only=only).moves}
    for number, keys in held_keys.items():
        is_used = any(run.is_live and run.reads(NAME, number) for run in runs)
        if is_used or number == max(held_keys):
            assert not moved & set(keys)
