"""Ranks by where workers are, on topologies that are made up."""

from __future__ import annotations

import random
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.training.parallel.layout import Layout
from tradewind.training.parallel.topology import Place, complaint, rank_order, said, tell, torn

LEVELS = ("site", "region", "zone", "rack", "host", "node")
names = st.sampled_from(["", "a", "b", "c"])
labelled = st.builds(Place, host=names, node=names, rack=names, zone=names, region=names, site=names)


def ranked(places: list[Place], **axes: int) -> list[Place]:
    world = len(places)
    layout = Layout.of(world, **axes)  # type: ignore[arg-type]
    return [places[number] for number in rank_order(places, layout)]


def hosts(**chips: int) -> list[Place]:
    """As many workers on each host as it has chips, in disorder."""
    places = [Place(host) for host, count in chips.items() for _ in range(count)]
    random.Random(7).shuffle(places)
    return places


def runs(places: list[Place], level: str) -> list[tuple[str, ...]]:
    """Each place of a level once, in order, or more often where it is not in one piece."""
    depth = LEVELS.index(level) + 1
    return [path for path, _ in groupby(place.path[:depth] for place in places)]


@given(places=st.lists(labelled, min_size=1, max_size=40))
def test_every_worker_gets_one_rank(places: list[Place]) -> None:
    assert sorted(rank_order(places, Layout.of(len(places)))) == list(range(len(places)))


@given(places=st.lists(labelled, min_size=1, max_size=40), level=st.sampled_from(LEVELS))
def test_what_is_together_has_ranks_that_follow_each_other(places: list[Place], level: str) -> None:
    pieces = runs(ranked(places), level)
    assert len(pieces) == len(set(pieces))


@given(places=st.lists(labelled, min_size=1, max_size=40), seed=st.integers())
def test_order_in_which_workers_started_does_not_matter(places: list[Place], seed: int) -> None:
    other = places.copy()
    random.Random(seed).shuffle(other)
    assert ranked(other) == ranked(places)


@given(places=st.lists(labelled, min_size=1, max_size=40))
def test_workers_of_one_host_stay_as_they_are(places: list[Place]) -> None:
    order = rank_order(places, Layout.of(len(places)))
    for _, same in groupby(order, key=lambda number: places[number].path):
        numbers = list(same)
        assert numbers == sorted(numbers)


@given(chips=st.lists(st.integers(1, 4), min_size=1, max_size=12), tensor=st.sampled_from([1, 2, 4]))
def test_no_group_is_torn_where_each_host_holds_whole_ones(chips: list[int], tensor: int) -> None:
    places = [
        Place(f"h{number}", rack=f"r{number % 3}") for number, count in enumerate(chips) for _ in range(count * tensor)
    ]
    there = ranked(places, tensor=tensor)
    assert list(torn(there, tensor)) == []
    assert complaint(there, Layout.of(len(places), tensor=tensor)) is None


def test_numbers_in_names_count() -> None:
    assert said(ranked(hosts(node10=1, node9=2, node1=1))) == "rank 0 on node1, ranks 1-2 on node9, rank 3 on node10"


def test_host_with_a_rest_comes_last_and_tears_one_group_instead_of_all() -> None:
    there = ranked(hosts(a=3, b=4, c=4, d=1), tensor=4)
    assert said(there) == "ranks 0-3 on b, ranks 4-7 on c, ranks 8-10 on a, rank 11 on d"
    assert list(torn(there, 4)) == [range(8, 12)]


def test_racks_that_hold_whole_shard_groups_come_first() -> None:
    racks = {"a": "r0", "b": "r0", "c": "r1", "d": "r2", "e": "r3"}
    chips = {"a": 2, "b": 1, "c": 4, "d": 4, "e": 1}
    places = [Place(host, rack=racks[host]) for host, count in chips.items() for _ in range(count)]
    assert [place.host for place in ranked(places, replicate=3)] == [*"cccc", *"dddd", *"aab", "e"]


def test_hosts_of_one_name_are_told_apart() -> None:
    places = [Place("localhost", node) for node in "abab"]
    assert list(torn(places, 2)) == [range(2), range(2, 4)]
    assert list(torn(ranked(places), 2)) == []


@pytest.mark.parametrize(
    ("chips", "message"),
    [
        ({"a": 6, "b": 2}, "ranks 4-7 share matrices and are on a, b; parallel.tensor 2 would stay inside"),
        ({"a": 3, "b": 1}, "ranks 0-3 share matrices and are on a, b; parallel.tensor 1 would stay inside"),
        ({"a": 2, "b": 2, "c": 2, "d": 2}, "are on a, b, and so 1 groups more; parallel.tensor 2 would"),
    ],
)
def test_matrices_shared_between_machines_are_complained_of(chips: dict[str, int], message: str) -> None:
    there = ranked(hosts(**chips), tensor=4)
    found = complaint(there, Layout.of(len(there), tensor=4))
    assert found is not None
    assert message in found


def test_bad_order_given_from_outside_is_complained_of_as_such(caplog: pytest.LogCaptureFixture) -> None:
    places = [Place(host) for host in "abab"]
    tell(places, Layout.of(4, tensor=2))
    assert "number the ranks host by host" in caplog.text
    caplog.clear()
    tell(places, Layout.of(4))
    assert caplog.text == ""


def test_a_thousand_hosts_are_not_all_named() -> None:
    text = said([Place(f"node{number}") for number in range(1000) for _ in range(8)])
    assert text.startswith("ranks 0-7 on node0, ranks 8-15 on node1, ")
    assert text.endswith(", and 984 more")
