from __future__ import annotations

import json
from dataclasses import asdict

from hypothesis import given
from hypothesis import strategies as st
from torch._C._distributed_c10d import HashStore

from tradewind.training.parallel.layout import Layout
from tradewind.training.parallel.topology import Location, agree, order_ranks


def locations(*hosts: str, **more: str) -> list[Location]:
    counts: dict[str, int] = {}
    for host in hosts:
        counts[host] = counts.get(host, -1) + 1
    seen = dict.fromkeys(counts, 0)
    found = []
    for host in hosts:
        found.append(Location(host, seen[host], **more))
        seen[host] += 1
    return found


def test_ranks_of_a_host_stand_together_by_device() -> None:
    order = order_ranks(locations("b", "a", "b", "a"), Layout.of(4, tensor=2))
    assert order.processes == (1, 3, 0, 2)
    assert order.said == "shard 2 × tensor 2, zero 3 on 2 hosts"


def test_hosts_of_a_rack_stand_together() -> None:
    where = [Location("a", rack="2"), Location("b", rack="1"), Location("c", rack="2"), Location("d", rack="1")]
    assert order_ranks(where, Layout.of(4)).processes == (1, 3, 0, 2)


def test_an_nvlink_domain_stands_together_in_its_rack() -> None:
    where = [Location(host, nvlink=link, rack="1") for host, link in zip("abcd", "yxyx", strict=True)]
    order = order_ranks(where, Layout.of(4, tensor=2))
    assert order.processes == (1, 3, 0, 2)
    assert "slow" not in order.said


def test_tensor_groups_stay_inside_of_hosts_that_have_room() -> None:
    order = order_ranks(locations("a", "a", "a", "b", "b", "b", "c", "c"), Layout.of(8, tensor=2))
    assert order.processes == (0, 1, 3, 4, 6, 7, 2, 5)
    assert "1 of 4 tensor groups reach over hosts without NVLink, ranks [6, 7] over a and b: slow" in order.said


def test_labels_are_known_under_any_prefix() -> None:
    labels = {"example.com/rack": "r7", "topology/nvlink": "n1", "zone": "z", "ray.io/node-id": "1"}
    assert Location.of("a", 3, labels) == Location("a", 3, nvlink="n1", rack="r7", zone="z")


@given(st.lists(st.sampled_from("abcde"), min_size=1, max_size=32), st.sampled_from([1, 2, 4]))
def test_every_process_becomes_one_rank(hosts: list[str], tensor: int) -> None:
    hosts = hosts[: len(hosts) // tensor * tensor] or ["a"] * tensor
    order = order_ranks(locations(*hosts), Layout.of(len(hosts), tensor=tensor))
    assert sorted(order.processes) == list(range(len(hosts)))


def test_processes_that_meet_at_a_store_agree() -> None:
    where, layout, store = locations("b", "a", "b", "a"), Layout.of(4, tensor=2), HashStore()
    for process in range(3):
        store.set(f"location/{process}", json.dumps(asdict(where[process])))
    order = agree(store, 3, where[3], layout)
    assert order == order_ranks(where, layout)
    assert [order.rank_of(process) for process in range(4)] == [2, 0, 3, 1]
