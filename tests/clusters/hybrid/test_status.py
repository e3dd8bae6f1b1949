from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from ray.autoscaler._private.aws.node_provider import AWSNodeProvider

from tests.clusters.hybrid.conftest import WEST, Harbour, Hosts, backend, owned, tags
from tests.clusters.hybrid.test_provider import launch, through
from tradewind.clusters.hybrid import HybridNodeProvider
from tradewind.clusters.hybrid.status import cluster_state, left_s, open_cluster
from tradewind.errors import SpecError
from tradewind.testing.faults import start_faults


def test_state_says_where_since_when_at_which_price_and_why(harbour: Harbour) -> None:
    provider = HybridNodeProvider(harbour.settings(ttl_s=3600, max_usd_per_hour=7), "harbour")
    (worker,) = launch(provider, harbour.west(0.1))
    (head,) = launch(provider, harbour.east(0.2), kind="head", node_type="head")
    assert provider.journal.flush(10)
    state = cluster_state(provider)
    assert [machine.node for machine in state.alive] == [head, worker]
    last = state.alive[1]
    assert (last.place, last.machine, last.market, last.usd_per_hour) == ("us-west-2a", "m5.large", "spot", 0.1)
    assert last.node_type == "cpu"
    assert last.since is not None
    assert abs(last.since - time.time()) < 60
    assert 3500 < (left_s(last) or 0) <= 3600
    assert "west-1 at $0.10" in last.why
    assert state.usd_per_hour == pytest.approx(0.3)
    assert state.max_usd_per_hour == 7


def test_state_names_the_cloud_that_does_not_answer_and_how_old_its_data_is(harbour: Harbour) -> None:
    with start_faults(harbour.ec2.endpoint) as proxy:
        provider = HybridNodeProvider(through(harbour.settings(), proxy), "harbour")
        (node,) = launch(provider, harbour.west(0.1))
        provider.non_terminated_nodes({})
        proxy.inject("reset", times=10)
        state = cluster_state(provider)
    assert [machine.node for machine in state.alive] == [node]
    west, east = state.backends
    assert "west: list: " in west.trouble
    assert west.age_s is not None
    assert west.machines == 1
    assert (east.trouble, east.machines) == ("", 0)


def test_laptop_sees_the_workers_that_the_head_took_from_own_hosts(
    harbour: Harbour, hosts: Hosts, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts.add("a", "b")
    settings = harbour.settings(hosts=hosts.names, workspace=str(home / "workspace"))
    head = HybridNodeProvider(settings, "harbour")
    launch(head, owned("berlin-1"), count=2)
    head.terminate_node("berlin/a")
    assert head.journal.flush(10)
    monkeypatch.setenv("HOME", str(home / "laptop"))
    (worker,) = cluster_state(HybridNodeProvider(settings, "harbour")).alive
    assert (worker.node, worker.state, worker.candidate) == ("berlin/b", "recorded", "berlin-1")


def test_cluster_of_one_cloud_is_seen_with_the_catalogues_price(harbour: Harbour) -> None:
    plain: Any = AWSNodeProvider(backend(WEST), "lighthouse")  # type: ignore[no-untyped-call]
    spot = {"InstanceType": "m5.large", "SubnetIds": harbour.subnets[WEST]}
    plain.create_node({**spot, "TagSpecifications": []}, tags(), 1)
    config = {"cluster_name": "lighthouse", "provider": backend(WEST) | {"cache_stopped_nodes": True}}
    state = cluster_state(open_cluster(config, name="aws.yaml"))
    (machine,) = state.alive
    assert (machine.place, machine.machine, machine.market) == ("us-west-2a", "m5.large", "on_demand")
    assert machine.since is not None
    assert state.max_usd_per_hour is None


@pytest.mark.parametrize(
    "config",
    [{}, {"kind": "train"}, {"cluster_name": "a", "provider": {"type": "external", "module": "x"}}],
)
def test_other_files_are_refused(config: dict[str, object]) -> None:
    with pytest.raises(SpecError, match=r"a\.yaml"):
        open_cluster(config, name="a.yaml")
