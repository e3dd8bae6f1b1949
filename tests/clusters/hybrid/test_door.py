from __future__ import annotations

import base64
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ray.autoscaler.node_launch_exception import NodeLaunchException

from tests.clusters.hybrid.conftest import WEST, Harbour
from tests.clusters.hybrid.test_provider import launch
from tests.clusters.overlay.conftest import OVERLAY, hub, wireguard
from tradewind.clusters.hybrid import HybridNodeProvider
from tradewind.clusters.hybrid.door import Door, join_command, leave_command
from tradewind.clusters.overlay import Hub

__all__ = ["hub", "wireguard"]

SETTINGS = {"subnet": OVERLAY.subnet, "endpoint": OVERLAY.endpoint}


def cluster(harbour: Harbour, hub: Hub) -> Any:
    provider = HybridNodeProvider(harbour.settings() | {"overlay": SETTINGS}, "harbour")
    provider.launcher.door = Door(hub, 3600.0)
    return provider


def user_data(harbour: Harbour, node: str) -> str:
    wanted = {"InstanceId": node.partition("/")[2], "Attribute": "userData"}
    said = harbour.ec2.client(WEST).describe_instance_attribute(**wanted)
    return base64.b64decode(said["UserData"]["Value"]).decode()


def test_each_machine_is_launched_with_a_key_of_its_own_that_the_hub_knows(harbour: Harbour, hub: Hub) -> None:
    provider = cluster(harbour, hub)
    made = launch(provider, harbour.west(0.1), count=3)
    tokens = {provider.node_tags(node)["tradewind-launch"] for node in made}
    assert {peer.name for peer in hub.peers()} == tokens
    texts = [user_data(harbour, node) for node in made]
    assert len(set(texts)) == 3
    assert all(sum(f"{peer.address}/" in text for text in texts) == 1 for peer in hub.peers())


def test_who_was_not_made_is_not_let_in(harbour: Harbour, hub: Hub) -> None:
    harbour.sell_out("us-west-2 m5.large spot")
    with pytest.raises(NodeLaunchException):
        launch(cluster(harbour, hub), harbour.west(0.1), count=2)
    assert hub.peers() == []


def test_key_of_a_machine_that_is_sold_out_serves_for_the_next_candidate(
    harbour: Harbour, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    harbour.sell_out("us-west-2 m5.large spot")
    provider, admitted = cluster(harbour, hub), []
    admit = hub.admit

    def admit_and_tell(_hub: Hub, name: str) -> Any:
        admitted.append(name)
        return admit(name)

    monkeypatch.setattr(Hub, "admit", admit_and_tell)
    (node,) = launch(provider, harbour.west(0.1), harbour.east(0.2))
    (peer,) = hub.peers()
    assert peer.name == provider.node_tags(node)["tradewind-launch"]
    assert len(admitted) == 1


def test_key_of_a_machine_that_may_have_been_made_serves_for_no_other(harbour: Harbour, hub: Hub) -> None:
    provider = cluster(harbour, hub)
    harbour.ec2.weather.lost_launches = 1
    harbour.ec2.announce()
    nodes = launch(provider, harbour.west(0.1), harbour.east(0.2))
    peers = {peer.name: peer.address for peer in hub.peers()}
    assert peers.keys() == {provider.node_tags(node)["tradewind-launch"] for node in nodes}


def test_sweep_shuts_the_door_behind_machines_that_are_gone(harbour: Harbour, hub: Hub) -> None:
    provider = cluster(harbour, hub)
    first, second = launch(provider, harbour.west(0.1), count=2)
    provider.terminate_node(first)
    provider.sweep()
    assert [peer.name for peer in hub.peers()] == [provider.node_tags(second)["tradewind-launch"]]


def test_cluster_without_a_hub_says_so_and_rents_nothing(harbour: Harbour, tmp_path: Path) -> None:
    with pytest.raises(NodeLaunchException, match="this machine is no hub"):
        launch(cluster(harbour, Hub(OVERLAY, tmp_path / "none")), harbour.west(0.1))
    assert harbour.places() == []


def test_laptop_lets_nobody_in(harbour: Harbour) -> None:
    assert HybridNodeProvider(harbour.settings() | {"overlay": SETTINGS}, "harbour").launcher.door is None
    on_head = harbour.settings() | {"overlay": SETTINGS, "on_head": True}
    assert HybridNodeProvider(on_head, "harbour").launcher.door is not None


def test_commands_for_own_hosts_are_shell(hub: Hub) -> None:
    for command in (join_command(hub.admit("a"), site="berlin"), leave_command()):
        subprocess.run(["bash", "-n", "-c", command], check=True)
