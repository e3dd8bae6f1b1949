from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.clusters.hybrid.conftest import Hosts, tags
from tradewind.clusters.hybrid.failures import HostsInUseError
from tradewind.clusters.hybrid.static import StaticNodeProvider
from tradewind.errors import AuthError, CapacityError


def provider(
    hosts: Hosts, cluster: str = "harbour", *, also: list[str] | None = None, **settings: Any
) -> StaticNodeProvider:
    written = {
        "type": "static",
        "hosts": also or hosts.names,
        "ssh_user": "ray",
        "stop_command": "echo stopped > $HOME/stopped",
    }
    return StaticNodeProvider({**written, **settings}, cluster, name="berlin")


def stopped(hosts: Hosts) -> list[str]:
    return [name for name in hosts.names if (hosts.folder / name / "stopped").exists()]


def test_free_hosts_are_handed_out_once(hosts: Hosts) -> None:
    hosts.add("a", "b", "c")
    berlin = provider(hosts)
    assert sorted(berlin.create_node({}, tags(), 2)) == ["a", "b"]
    assert list(berlin.create_node({}, tags(), 2)) == ["c"]
    with pytest.raises(HostsInUseError, match="no host is free; in use: a, b, c"):
        berlin.create_node({}, tags(), 1)


def test_racing_launches_never_share_a_host(hosts: Hosts) -> None:
    hosts.add(*"abcdefgh")
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: list(provider(hosts).create_node({}, tags(), 1)), range(8)))
    assert sorted(host for one in made for host in one) == hosts.names


def test_second_provider_sees_the_same_hosts(hosts: Hosts) -> None:
    hosts.add("a", "b")
    provider(hosts).create_node({}, tags("cpu"), 1)
    again = provider(hosts)
    assert again.non_terminated_nodes({"ray-user-node-type": "cpu"}) == ["a"]
    assert again.non_terminated_nodes({"ray-user-node-type": "gpu"}) == []
    assert (again.is_running("a"), again.is_running("b")) == (True, False)


def test_only_the_host_that_is_given_back_is_stopped(hosts: Hosts) -> None:
    hosts.add("a", "b")
    berlin = provider(hosts)
    berlin.create_node({}, tags(), 2)
    berlin.terminate_node("b")
    assert (stopped(hosts), hosts.lease("a"), hosts.lease("b")) == (["b"], "harbour", "")
    assert berlin.non_terminated_nodes({}) == ["a"]
    assert list(berlin.create_node({}, tags(), 1)) == ["b"]


def test_host_of_another_cluster_is_neither_taken_nor_stopped(hosts: Hosts) -> None:
    hosts.add("a")
    provider(hosts, "dock").create_node({}, tags(), 1)
    harbour = provider(hosts)
    with pytest.raises(CapacityError, match="host a belongs to cluster 'dock'"):
        harbour.create_node({}, tags(), 1)
    harbour.terminate_node("a")
    assert (stopped(hosts), hosts.lease("a")) == ([], "dock")


def test_host_that_is_not_there_is_named_and_another_one_taken(hosts: Hosts) -> None:
    hosts.add("b")
    berlin = provider(hosts, also=["a", "b"])
    assert list(berlin.create_node({}, tags(), 1)) == ["b"]
    with pytest.raises(CapacityError, match=r"no SSH server answers at ray@a: .*No route to host"):
        berlin.create_node({}, tags(), 1)
    assert berlin.non_terminated_nodes({}) == ["b"]


def test_key_that_cannot_log_in_is_told_apart(hosts: Hosts) -> None:
    hosts.add("a")
    hosts.deny("a")
    with pytest.raises(AuthError, match=r"cannot log in to ray@a: .*Permission denied") as caught:
        provider(hosts, ssh_private_key="/keys/harbour").create_node({}, tags(), 1)
    assert "/keys/harbour" in (caught.value.hint or "")


def test_host_that_hangs_is_given_up_in_time(hosts: Hosts) -> None:
    hosts.add("a")
    (hosts.folder.parent / "bin" / "ssh").write_text("#!/bin/sh\nexec sleep 60\n")
    with pytest.raises(CapacityError, match=r"no answer within 0\.2 s"):
        provider(hosts, login_timeout_s=0.2).create_node({}, tags(), 1)


def test_head_is_the_host_that_is_named_and_no_worker(hosts: Hosts) -> None:
    hosts.add("a", "b", "c")
    berlin = provider(hosts, head="b")
    assert list(berlin.create_node({}, tags(kind="head"), 1)) == ["b"]
    assert sorted(berlin.create_node({}, tags(), 3)) == ["a", "c"]


def test_head_finds_itself_through_the_seed(hosts: Hosts) -> None:
    hosts.add("a", "b")
    head = provider(hosts, head="a", seed={"a": tags(kind="head")}, life="1")
    assert head.non_terminated_nodes({"ray-node-type": "head"}) == ["a"]
    assert list(head.create_node({}, tags(), 1)) == ["b"]
    assert sorted(provider(hosts, head="a", seed={"a": tags(kind="head")}, life="1").non_terminated_nodes({})) == [
        "a",
        "b",
    ]


def test_next_head_begins_without_the_workers_of_the_last_one(hosts: Hosts) -> None:
    hosts.add("a", "b")
    provider(hosts, head="a", seed={"a": tags(kind="head")}, life="1").create_node({}, tags(), 1)
    assert provider(hosts, head="a", seed={"a": tags(kind="head")}, life="2").non_terminated_nodes({}) == ["a"]


def test_teardown_reaches_workers_that_only_the_head_knows(hosts: Hosts) -> None:
    hosts.add("a", "b", "c")
    provider(hosts, head="a", seed={"a": tags(kind="head")}, life="1").create_node({}, tags(), 1)
    laptop = provider(hosts, head="a", also=[*hosts.names, "gone"])
    workers = laptop.nodes_for_teardown({"ray-node-type": "worker"})
    assert workers == ["b", "c", "gone"]
    assert laptop.nodes_for_teardown({"ray-node-type": "head"}) == ["a"]
    laptop.terminate_nodes(workers)
    assert laptop.nodes_for_teardown({"ray-node-type": "worker"}) == []
    assert stopped(hosts) == ["b"]


def test_tags_are_kept_in_a_file_that_is_always_whole(hosts: Hosts, home: Path) -> None:
    hosts.add("a")
    berlin = provider(hosts)
    berlin.create_node({}, tags(), 1)
    berlin.set_node_tags("a", {"ray-node-status": "up-to-date"})
    (file,) = (home / ".tradewind-cluster" / "hosts").rglob("*.json")
    assert json.loads(file.read_text())["hosts"]["a"]["ray-node-status"] == "up-to-date"
    assert berlin.node_tags("a")["ray-node-status"] == "up-to-date"
    berlin.set_node_tags("b", {"ray-node-status": "up-to-date"})
    assert berlin.node_tags("b") == {}
