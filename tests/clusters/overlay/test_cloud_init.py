from __future__ import annotations

import shutil
import subprocess

import pytest
import yaml

from tradewind.clusters.overlay import Hub, cloud_init

SHELL = shutil.which("bash") or "bash"


def files(text: str) -> dict[str, dict[str, str]]:
    return {file["path"]: file for file in yaml.safe_load(text)["write_files"]}


def test_document_is_one_that_cloud_init_takes(hub: Hub) -> None:
    text = cloud_init(hub.admit("aws/i-1"), site="aws-usw2")
    assert text.startswith("#cloud-config\n")
    document = yaml.safe_load(text)
    assert document["packages"] == ["nftables", "wireguard-tools"]
    assert document["runcmd"][-1] == ["systemctl", "enable", "--now", "tradewind-tunnel.service"]
    assert all(file["permissions"] in ("0600", "0644", "0755") for file in document["write_files"])


def test_scripts_are_written_as_people_write_them(hub: Hub) -> None:
    assert "content: |\n    #!/bin/bash\n" in cloud_init(hub.admit("a"), site="here")


def test_private_key_is_in_a_file_for_root_alone(hub: Hub) -> None:
    ticket = hub.admit("a")
    text = cloud_init(ticket, site="here")
    (holder,) = (file for file in files(text).values() if ticket.private_key in file["content"])
    assert (holder["path"], holder["permissions"]) == ("/etc/tradewind/overlay/wg0.conf", "0600")
    assert text.count(ticket.private_key) == 1


def test_tunnel_has_the_nodes_address_and_is_always_restarted(hub: Hub) -> None:
    unit = files(cloud_init(hub.admit("a"), site="here"))["/etc/systemd/system/tradewind-tunnel.service"]["content"]
    assert "ExecStart=/bin/bash /etc/tradewind/overlay/tunnel.sh 10.99.0.2/28 1280 /etc/tradewind/overlay\n" in unit
    assert "Restart=always\n" in unit


def test_node_knows_its_site(hub: Hub) -> None:
    labels = files(cloud_init(hub.admit("a"), site="aws-usw2"))["/etc/tradewind/labels.yaml"]["content"]
    assert yaml.safe_load(labels) == {"site": "aws-usw2"}


def test_node_knows_its_market(hub: Hub) -> None:
    text = cloud_init(hub.admit("a"), site="aws-usw2", market="spot")
    labels = files(text)["/etc/tradewind/labels.yaml"]["content"]
    assert yaml.safe_load(labels) == {"site": "aws-usw2", "tradewind-market": "spot"}


@pytest.mark.parametrize("name", ["tunnel.sh", "wait.sh"])
def test_script_is_one(hub: Hub, name: str) -> None:
    text = files(cloud_init(hub.admit("a"), site="here"))[f"/etc/tradewind/overlay/{name}"]["content"]
    assert subprocess.run([SHELL, "-n"], input=text, text=True, capture_output=True).stderr == ""


def test_user_data_is_small_enough_for_every_cloud(hub: Hub) -> None:
    """EC2 takes 16 KiB, the least of the three."""
    assert len(cloud_init(hub.admit("a"), site="aws-usw2").encode()) < 16 * 1024


def test_machine_ends_by_itself_when_its_time_is_up(hub: Hub) -> None:
    document = yaml.safe_load(cloud_init(hub.admit("worker"), site="aws", ttl_s=3601))
    assert document["power_state"] == {"mode": "poweroff", "delay": "+61", "message": "the time of this machine is up"}
    assert "power_state" not in yaml.safe_load(cloud_init(hub.admit("other"), site="aws"))
