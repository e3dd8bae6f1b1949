"""User data for a worker of the overlay: the tunnel is up before anybody can log in."""

from __future__ import annotations

import math
from typing import Any

import yaml

from tradewind.clusters.overlay.node_files import UNIT, NodeFile, worker_files
from tradewind.clusters.overlay.peer import Ticket

HEADER = "#cloud-config\n"
OVER = "the time of this machine is up"
WITHOUT_KERNEL = "modprobe wireguard || apt-get install -y --no-install-recommends wireguard-go"
"""Kernels of Ubuntu 22.04 and later, and of Debian 12 and later, have WireGuard; wireguard-go is for the others."""


def cloud_init(ticket: Ticket, *, site: str, market: str = "", ttl_s: float | None = None) -> str:
    """A `#cloud-config` for one node alone, with its private key. `site` and `market` become the node's labels in Ray.

    With `ttl_s` the machine ends by itself when that time is up, whatever has become of its head.

    Format: https://cloudinit.readthedocs.io/en/latest/reference/modules.html. The image must have cloud-init, systemd
    and apt.
    """
    document: dict[str, Any] = {
        "package_update": True,
        "packages": ["nftables", "wireguard-tools"],
        "write_files": [_entry(file) for file in worker_files(ticket, site=site, market=market)],
        "runcmd": [
            ["bash", "-c", WITHOUT_KERNEL],
            ["systemctl", "daemon-reload"],
            ["systemctl", "enable", "--now", UNIT.name],
        ],
    }
    if ttl_s is not None:
        document["power_state"] = {"mode": "poweroff", "delay": f"+{math.ceil(ttl_s / 60)}", "message": OVER}
    return HEADER + yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=120)


def _entry(file: NodeFile) -> dict[str, str]:
    return {
        "path": str(file.path),
        "owner": "root:root",
        "permissions": f"{file.mode:04o}",
        "content": file.text,
    }


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as people do."""


def _literal(dumper: yaml.SafeDumper, text: str) -> Any:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _literal)
