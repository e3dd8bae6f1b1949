from __future__ import annotations

import time
from typing import Any

import pytest

from tests.clusters.hybrid.conftest import EAST, WEST, Harbour, Hosts, owned
from tests.clusters.hybrid.test_provider import decisions, launch
from tradewind.clusters.hybrid import HybridNodeProvider
from tradewind.clusters.hybrid.sweep import GRACE_S, sweep
from tradewind.testing.faults import start_faults


def native(node: str) -> str:
    return node.partition("/")[2]


def retag(harbour: Harbour, node: str, **changes: str | None) -> None:
    """Alter tags behind the provider's back; None removes one."""
    client = harbour.ec2.client(WEST)
    for key, value in changes.items():
        name = key.replace("_", "-")
        if value is None:
            client.delete_tags(Resources=[native(node)], Tags=[{"Key": name}])
        else:
            client.create_tags(Resources=[native(node)], Tags=[{"Key": name, "Value": value}])


def swept(provider: Any, **named: Any) -> list[str]:
    done = sweep(provider.backends.values(), provider.journal, lost=provider.launcher.lost, **named)
    assert done.problems == ()
    return [leak.node for leak in done.ended]


def test_machines_in_use_are_left_alone(harbour: Harbour, hosts: Hosts) -> None:
    hosts.add("a")
    provider = HybridNodeProvider(harbour.settings(hosts=hosts.names), "harbour")
    made = launch(provider, owned("berlin-1"), harbour.west(0.1), count=2)
    assert swept(provider, grace_s=0.0) == []
    assert sorted(provider.non_terminated_nodes({})) == sorted(made)


def test_machine_past_its_time_is_ended_and_the_head_comes_last(harbour: Harbour) -> None:
    provider = HybridNodeProvider(harbour.settings(), "harbour")
    head = launch(provider, harbour.west(0.1), kind="head", node_type="head")[0]
    worker, young = launch(provider, harbour.west(0.1), count=2)
    for node in (head, worker):
        retag(harbour, node, tradewind_expires=str(int(time.time()) - 5))
    assert swept(provider) == [worker, head]
    assert provider.non_terminated_nodes({}) == [young]
    reasons = {decision.subject: decision.reason for decision in decisions(provider) if decision.action == "sweep"}
    assert reasons.keys() == {head, worker}
    assert "its time ended 5 s ago" in reasons[worker] or "its time ended 6 s ago" in reasons[worker]


def test_machine_that_ray_cannot_see_is_ended_after_the_grace(harbour: Harbour) -> None:
    provider = HybridNodeProvider(harbour.settings(), "harbour")
    (node,) = launch(provider, harbour.west(0.1))
    retag(harbour, node, ray_cluster_name=None)
    assert swept(provider) == []
    retag(harbour, node, tradewind_since=str(int(time.time() - GRACE_S) - 5))
    assert swept(provider) == [node]
    assert harbour.places() == []


def test_stopped_machine_is_ended(harbour: Harbour) -> None:
    provider = HybridNodeProvider(harbour.settings(), "harbour")
    (node,) = launch(provider, harbour.west(0.1, market="on_demand"))
    harbour.ec2.client(WEST).stop_instances(InstanceIds=[native(node)])
    assert swept(provider, grace_s=-1.0) == [node]


def test_machines_of_others_are_not_even_looked_at(harbour: Harbour) -> None:
    other = HybridNodeProvider(harbour.settings(), "dock")
    (node,) = launch(other, harbour.west(0.1))
    retag(harbour, node, tradewind_expires="1")
    assert swept(HybridNodeProvider(harbour.settings(), "harbour"), grace_s=0.0) == []
    assert harbour.places() == [WEST]


def test_dry_run_says_what_it_would_end(harbour: Harbour) -> None:
    provider = HybridNodeProvider(harbour.settings(), "harbour")
    (node,) = launch(provider, harbour.west(0.1))
    retag(harbour, node, tradewind_expires="1")
    assert swept(provider, dry_run=True) == [node]
    assert harbour.places() == [WEST]
    assert decisions(provider) == []


def test_cloud_that_is_down_does_not_keep_leaks_elsewhere(harbour: Harbour) -> None:
    with start_faults(harbour.ec2.endpoint) as proxy:
        settings = harbour.settings()
        settings["backends"]["east"]["aws_credentials"] = {"endpoint_url": proxy.endpoint}
        provider = HybridNodeProvider(settings, "harbour")
        (node,) = launch(provider, harbour.west(0.1))
        launch(provider, harbour.east(0.2))
        retag(harbour, node, tradewind_expires="1")
        proxy.inject("reset", times=10)
        done = provider.sweep()
    assert [leak.node for leak in done.ended] == [node]
    assert [problem.message.partition(":")[0] for problem in done.problems] == ["east"]
    assert harbour.places() == [EAST]


def test_price_of_what_leaked_is_told(harbour: Harbour) -> None:
    provider = HybridNodeProvider(harbour.settings(), "harbour")
    (node,) = launch(provider, harbour.west(0.1))
    retag(harbour, node, tradewind_expires="1")
    (leak,) = provider.sweep().ended
    assert leak.usd_per_hour == pytest.approx(0.1)
