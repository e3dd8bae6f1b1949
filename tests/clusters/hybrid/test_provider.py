from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import click
import pytest
from ray.autoscaler._private.providers import _get_node_provider
from ray.autoscaler.node_launch_exception import NodeLaunchException

from tests.clusters.hybrid.conftest import EAST, WEST, Harbour, Hosts, owned, tags
from tradewind.clusters.hybrid import HybridNodeProvider
from tradewind.errors import CloudError, NotFoundError
from tradewind.records import Decision, Launch
from tradewind.testing.faults import FaultProxy, start_faults


def launch(provider: Any, *candidates: dict[str, Any], count: int = 1, **named: Any) -> list[str]:
    """As Ray's autoscaler does."""
    return list(provider.create_node_with_resources_and_labels(
        {"candidates": list(candidates)}, tags(**named), count, {}, {}
    ))  # fmt: skip


def launches(provider: Any) -> list[Launch]:
    assert provider.journal.flush(10)
    return list(provider.journal.launches.all())


def decisions(provider: Any) -> list[Decision]:
    assert provider.journal.flush(10)
    return list(provider.journal.decisions.all())


def outcomes(record: Launch) -> list[tuple[str, str]]:
    return [(attempt.candidate, attempt.outcome) for attempt in record.attempts]


@pytest.fixture
def proxy(harbour: Harbour) -> Iterator[FaultProxy]:
    with start_faults(harbour.ec2.endpoint) as proxy:
        yield proxy


def through(settings: dict[str, Any], proxy: FaultProxy) -> dict[str, Any]:
    """The same cluster, whose western region is behind a proxy."""
    settings["backends"]["west"]["aws_credentials"] = {"endpoint_url": proxy.endpoint}
    return settings


def test_ray_makes_it_by_its_name(harbour: Harbour) -> None:
    settings = json.loads(json.dumps(harbour.settings()))
    assert isinstance(_get_node_provider(settings, "harbour", use_cache=False), HybridNodeProvider)


def test_cheapest_in_the_end_is_launched(harbour: Harbour) -> None:
    provider = HybridNodeProvider(harbour.settings(), "harbour")
    (node,) = launch(provider, harbour.east(0.2), harbour.west(0.1))
    assert node.startswith("west/i-")
    assert provider.non_terminated_nodes({}) == [node]
    assert provider.is_running(node)
    assert provider.internal_ip(node) == harbour.ec2.machines()[0].address
    (record,) = launches(provider)
    assert (record.nodes, record.request, record.node_type) == ((node,), "r-1", "cpu")
    assert record.attempts[0].effective_usd_per_hour > record.attempts[0].usd_per_hour == 0.1
    assert "west-1 at $0.10" in record.reason


def test_spot_that_costs_more_in_the_end_comes_second(harbour: Harbour) -> None:
    provider = HybridNodeProvider(harbour.settings(), "harbour")
    (node,) = launch(provider, harbour.west(0.1, market="spot"), harbour.east(0.101, market="on_demand"))
    assert node.startswith("east/")


def test_machines_carry_what_is_needed_to_know_them(harbour: Harbour) -> None:
    provider = HybridNodeProvider(harbour.settings(ttl_s=3600), "harbour")
    (node,) = launch(provider, harbour.west(0.1))
    carried = provider.node_tags(node)
    assert carried["tradewind-cluster"] == "harbour"
    assert carried["tradewind-owner"] == "acme"
    assert carried["tradewind-candidate"] == "west-1"
    assert carried["tradewind-market"] == "spot"
    assert int(carried["tradewind-expires"]) - int(carried["tradewind-since"]) == 3600
    assert carried["ray-user-node-type"] == "cpu"


def test_sold_out_region_is_left_for_the_next_and_not_asked_again(harbour: Harbour) -> None:
    harbour.sell_out("us-west-2 m5.large spot")
    provider = HybridNodeProvider(harbour.settings(), "harbour")
    assert launch(provider, harbour.west(0.1), harbour.east(0.2))[0].startswith("east/")
    assert launch(provider, harbour.west(0.1), harbour.east(0.2))[0].startswith("east/")
    first, second = launches(provider)
    assert outcomes(first) == [("west-1", "sold_out"), ("east-1", "launched")]
    assert outcomes(second) == [("east-1", "launched")]
    assert second.passed_over[0].startswith("west-1: left alone after west: launch of west-1: ")


def test_cool_down_is_of_one_market_only(harbour: Harbour) -> None:
    harbour.sell_out("us-west-2 m5.large spot")
    provider = HybridNodeProvider(harbour.settings(), "harbour")
    with pytest.raises(NodeLaunchException):
        launch(provider, harbour.west(0.1, market="spot"))
    assert launch(provider, harbour.west(0.3, market="on_demand"))[0].startswith("west/")


def test_zones_of_a_candidate_are_each_asked_once(harbour: Harbour, proxy: FaultProxy) -> None:
    harbour.sell_out("us-west-2 m5.large spot")
    subnets = [item["SubnetId"] for item in harbour.ec2.client(WEST).describe_subnets()["Subnets"]]
    provider = HybridNodeProvider(through(harbour.settings(), proxy), "harbour")
    before = len(proxy.requests)
    with pytest.raises(NodeLaunchException):
        launch(
            provider, {**harbour.west(0.1), "node_config": {**harbour.west(0.1)["node_config"], "SubnetIds": subnets}}
        )
    assert len(proxy.requests) - before == len(subnets)


def test_nothing_left_says_what_was_tried_and_refusals_are_written_once(harbour: Harbour) -> None:
    harbour.sell_out("us-west-2 m5.large spot", "us-east-1 m5.large on_demand")
    provider = HybridNodeProvider(harbour.settings(), "harbour")
    with pytest.raises(NodeLaunchException, match=r"0 of 1 machines of cpu: west-1: .*; east-1: "):
        launch(provider, harbour.west(0.1), harbour.east(0.2))
    for _ in range(3):
        with pytest.raises(NodeLaunchException, match="left alone after"):
            launch(provider, harbour.west(0.1), harbour.east(0.2))
    assert len(launches(provider)) == 2


def test_shortfall_is_topped_up_from_the_next(harbour: Harbour, hosts: Hosts) -> None:
    hosts.add("a", "b")
    provider = HybridNodeProvider(harbour.settings(hosts=hosts.names), "harbour")
    made = launch(provider, owned("berlin-1"), harbour.west(0.1), count=3)
    assert [node.partition("/")[0] for node in made] == ["berlin", "berlin", "west"]
    assert sorted(provider.non_terminated_nodes({})) == sorted(made)
    (record,) = launches(provider)
    assert outcomes(record) == [("berlin-1", "fewer"), ("west-1", "launched")]


def test_host_that_is_given_back_is_taken_before_another_is_rented(harbour: Harbour, hosts: Hosts) -> None:
    hosts.add("a")
    provider = HybridNodeProvider(harbour.settings(hosts=hosts.names), "harbour")
    (own,) = launch(provider, owned("berlin-1"), harbour.west(0.1))
    assert launch(provider, owned("berlin-1"), harbour.west(0.1))[0].startswith("west/")
    provider.terminate_node(own)
    assert launch(provider, owned("berlin-1"), harbour.west(0.1)) == ["berlin/a"]


def test_price_of_all_machines_never_passes_the_cap(harbour: Harbour) -> None:
    provider = HybridNodeProvider(harbour.settings(max_usd_per_hour=0.25), "harbour")
    with pytest.raises(NodeLaunchException, match=r"2 of 3 .* would pass the highest price of \$0.25"):
        launch(provider, harbour.west(0.1), count=3)
    assert provider.usd_per_hour() == pytest.approx(0.2)
    with pytest.raises(NodeLaunchException, match="QuotaError"):
        launch(provider, harbour.west(0.1))
    provider.terminate_nodes(provider.non_terminated_nodes({})[:1])
    assert len(launch(provider, harbour.west(0.1))) == 1
    assert "over_cap" in [decision.action for decision in decisions(provider)]


def test_racing_launches_keep_the_cap(harbour: Harbour) -> None:
    provider = HybridNodeProvider(harbour.settings(max_usd_per_hour=0.45), "harbour")

    def one(_: int) -> int:
        try:
            return len(launch(provider, harbour.west(0.1)))
        except NodeLaunchException:
            return 0

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(one, range(8))) == 4
    assert len(harbour.ec2.machines()) == 4


def test_wrong_subnet_is_told_and_the_next_candidate_is_taken(harbour: Harbour) -> None:
    provider = HybridNodeProvider(harbour.settings(), "harbour")
    wrong = harbour.west(0.1)
    wrong["node_config"]["SubnetIds"] = ["subnet-0"]
    (node,) = launch(provider, wrong, harbour.east(0.2))
    assert node.startswith("east/")
    attempt = launches(provider)[0].attempts[0]
    assert attempt.outcome == "misfit"
    assert "InvalidSubnetID.NotFound" in attempt.reason


def test_cloud_that_is_down_keeps_its_nodes_and_says_since_when(harbour: Harbour, proxy: FaultProxy) -> None:
    provider = HybridNodeProvider(through(harbour.settings(), proxy), "harbour")
    west, east = launch(provider, harbour.west(0.1)) + launch(provider, harbour.east(0.2))
    assert sorted(provider.non_terminated_nodes({})) == sorted([west, east])
    proxy.inject("reset", times=100)
    assert sorted(provider.non_terminated_nodes({})) == sorted([west, east])
    assert provider.non_terminated_nodes({"ray-user-node-type": "cpu"}) != []
    assert provider.is_running(west)
    assert provider.node_tags(west)["tradewind-candidate"] == "west-1"
    trouble = provider.backends["west"].trouble
    assert trouble is not None
    assert trouble.outcome == "no_answer"
    assert provider.backends["east"].trouble is None


def test_machine_whose_launch_was_answered_with_an_error_is_found_and_kept(harbour: Harbour) -> None:
    harbour.ec2.weather.lost_launches = 1
    harbour.ec2.announce()
    provider = HybridNodeProvider(harbour.settings(), "harbour")
    (node,) = launch(provider, harbour.west(0.1), harbour.east(0.2))
    assert node.startswith("west/")
    assert harbour.places() == [WEST]


def test_machine_whose_answer_never_came_is_found_and_kept(harbour: Harbour, proxy: FaultProxy) -> None:
    provider = HybridNodeProvider(through(harbour.settings(), proxy), "harbour")
    proxy.inject("lost")
    (node,) = launch(provider, harbour.west(0.1), harbour.east(0.2))
    assert node.startswith("west/")
    assert harbour.places() == [WEST]


def test_launch_that_is_lost_altogether_is_hidden_from_ray_and_swept(harbour: Harbour, proxy: FaultProxy) -> None:
    provider = HybridNodeProvider(through(harbour.settings(), proxy), "harbour")
    proxy.inject("lost")
    proxy.inject("reset", times=2)
    (node,) = launch(provider, harbour.west(0.1), harbour.east(0.2))
    assert node.startswith("east/")
    assert outcomes(launches(provider)[0]) == [("west-1", "lost"), ("east-1", "launched")]
    assert harbour.places() == sorted([WEST, EAST])
    assert provider.non_terminated_nodes({}) == [node]
    swept = provider.sweep()
    assert [leak.node.partition("/")[0] for leak in swept.ended] == ["west"]
    assert harbour.places() == [EAST]


def test_restarted_head_sees_the_same_and_still_knows_what_was_lost(
    harbour: Harbour, proxy: FaultProxy, hosts: Hosts
) -> None:
    hosts.add("a")
    settings = through(harbour.settings(hosts=hosts.names), proxy)
    first = HybridNodeProvider(settings, "harbour")
    made = launch(first, owned("berlin-1"), harbour.east(0.2), count=2)
    proxy.inject("lost")
    proxy.inject("reset", times=2)
    with pytest.raises(NodeLaunchException):
        launch(first, harbour.west(0.1))
    assert first.journal.flush(10)
    second = HybridNodeProvider(settings, "harbour")
    assert sorted(second.non_terminated_nodes({})) == sorted(made)
    assert second.usd_per_hour() == pytest.approx(0.3), "what leaks is paid as well"
    assert len(second.sweep().ended) == 1
    assert second.usd_per_hour() == pytest.approx(0.2)
    assert harbour.places() == [EAST]


def test_nodes_of_all_clouds_are_ended_whatever_one_of_them_says(harbour: Harbour, proxy: FaultProxy) -> None:
    provider = HybridNodeProvider(through(harbour.settings(), proxy), "harbour")
    west, east = launch(provider, harbour.west(0.1)) + launch(provider, harbour.east(0.2))
    proxy.inject("reset", times=2)
    with pytest.raises(CloudError, match="west: end i-"):
        provider.terminate_nodes([west, east])
    assert harbour.places() == [WEST]
    provider.terminate_nodes(provider.non_terminated_nodes({}))
    assert harbour.places() == []
    provider.terminate_nodes([west, east])
    assert provider.is_terminated(west)
    assert not provider.is_running(west)


def test_machine_that_was_taken_away_is_gone(harbour: Harbour) -> None:
    provider = HybridNodeProvider(harbour.settings(), "harbour")
    first, second = launch(provider, harbour.west(0.1), count=2)
    assert sorted(provider.non_terminated_nodes({})) == sorted([first, second])
    harbour.ec2.client(WEST).terminate_instances(InstanceIds=[first.partition("/")[2]])
    assert provider.non_terminated_nodes({}) == [second]


def test_tags_are_set_in_the_cloud(harbour: Harbour) -> None:
    provider = HybridNodeProvider(harbour.settings(), "harbour")
    (node,) = launch(provider, harbour.west(0.1))
    provider.set_node_tags(node, {"ray-node-status": "up-to-date"})
    assert provider.non_terminated_nodes({"ray-node-status": "up-to-date"}) == [node]
    assert HybridNodeProvider(harbour.settings(), "harbour").node_tags(node)["ray-node-status"] == "up-to-date"


def test_each_backend_has_its_own_user(harbour: Harbour, hosts: Hosts) -> None:
    hosts.add("a")
    settings = harbour.settings(hosts=hosts.names)
    settings["backends"]["west"] |= {"ssh_user": "ubuntu"}
    provider = HybridNodeProvider(settings, "harbour")
    west, own = launch(provider, harbour.west(0.1)) + launch(provider, owned("berlin-1"))
    auth = {"ssh_user": "admin", "ssh_private_key": "key"}
    users = {
        node: provider.get_command_runner("", node, auth, "harbour", None, use_internal_ip=True).ssh_user
        for node in (west, own)
    }
    assert users == {west: "ubuntu", own: "ray"}


def test_node_of_an_unknown_backend_is_named(harbour: Harbour) -> None:
    with pytest.raises(NotFoundError, match=r"no backend named 'wets' for node wets/i-1 \(did you mean 'west'"):
        HybridNodeProvider(harbour.settings(), "harbour").node_tags("wets/i-1")


def test_head_that_cannot_be_had_ends_ray_up_with_one_sentence(harbour: Harbour) -> None:
    harbour.sell_out("us-west-2 m5.large on_demand")
    provider = HybridNodeProvider(harbour.settings(), "harbour")
    with pytest.raises(click.ClickException, match=r"0 of 1 machines of head: west-1: "):
        provider.create_node({"candidates": [harbour.west(market="on_demand")]}, tags("head", "head"), 1)


def test_head_that_fits_nowhere_is_not_waited_for(harbour: Harbour) -> None:
    provider = HybridNodeProvider(harbour.settings(), "harbour")
    candidate = harbour.west(market="on_demand")
    candidate["node_config"]["SubnetIds"] = ["subnet-0"]
    with pytest.raises(click.ClickException, match=r"0 of 1 machines of head: [^$]*\nhint: mend the candidate"):
        provider.create_node({"candidates": [candidate]}, tags("head", "head"), 1)


def test_teardown_of_half_a_cluster_ends_what_is_there(harbour: Harbour, hosts: Hosts) -> None:
    hosts.add("a")
    provider = HybridNodeProvider(harbour.settings(hosts=[*hosts.names, "gone"]), "harbour")
    launch(provider, harbour.west(0.1))
    while nodes := provider.nodes_for_teardown({"ray-node-type": "worker"}):
        provider.terminate_nodes(nodes)
    provider.cleanup_cluster_resources()
    assert harbour.places() == []


def test_many_threads_at_once(harbour: Harbour, hosts: Hosts) -> None:
    hosts.add(*"abcd")
    provider = HybridNodeProvider(harbour.settings(hosts=hosts.names, max_usd_per_hour=100), "harbour")

    def live(number: int) -> None:
        ways = [owned("berlin-1"), harbour.west(0.1), harbour.east(0.2)]
        made = launch(provider, *ways[number % 3 :], count=1 + number % 2, request=f"r-{number}")
        assert set(made) <= set(provider.non_terminated_nodes({}))
        provider.terminate_nodes(made)
        assert not set(made) & set(provider.non_terminated_nodes({})) or any(node.startswith("berlin") for node in made)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(live, range(24)))
    assert provider.non_terminated_nodes({}) == []
    assert harbour.places() == []
    assert len(launches(provider)) == 24
