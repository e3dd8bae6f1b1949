"""What a node of the overlay has in its file system: the same files on the head and on workers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tradewind.clusters.overlay.firewall import firewall
from tradewind.clusters.overlay.hub import CONFIGURATION, FOLDER
from tradewind.clusters.overlay.network import INTERFACE, MTU, Overlay
from tradewind.clusters.overlay.peer import Ticket

UNIT = Path("/etc/systemd/system/tradewind-tunnel.service")
LABELS = Path("/etc/tradewind/labels.yaml")
"""For `ray start --labels-file`."""
SITE, MARKET = "site", "tradewind-market"
"""Labels of a node: where it is, and on which market its machine was got: spot, on_demand or owned."""


@dataclass(frozen=True)
class NodeFile:
    path: Path
    text: str
    mode: int = 0o644


def worker_files(ticket: Ticket, *, site: str, market: str = "") -> list[NodeFile]:
    """`site` and `market` become labels of the node in Ray."""
    return [
        NodeFile(FOLDER / CONFIGURATION, ticket.configuration(), 0o600),
        NodeFile(LABELS, f"{SITE}: {site}\n" + (f"{MARKET}: {market}\n" if market else "")),
        *_shared_files(ticket.overlay, ticket.address, firewall()),
    ]


def head_files(overlay: Overlay) -> list[NodeFile]:
    """All but the configuration, which the hub writes."""
    return _shared_files(overlay, overlay.head_address, firewall(listen_port=overlay.port))


def tunnel_command(overlay: Overlay, address: str, folder: Path = FOLDER) -> list[str]:
    """What brings the tunnel up and stays; for `systemd`, or for a supervisor of one's own."""
    return ["/bin/bash", str(folder / "tunnel.sh"), f"{address}/{overlay.network.prefixlen}", str(MTU), str(folder)]


def _shared_files(overlay: Overlay, address: str, rules: str) -> list[NodeFile]:
    return [
        NodeFile(FOLDER / "firewall.nft", rules),
        NodeFile(FOLDER / "tunnel.sh", _script("tunnel.sh"), 0o755),
        NodeFile(FOLDER / "wait.sh", _script("wait.sh"), 0o755),
        NodeFile(UNIT, _unit(tunnel_command(overlay, address))),
    ]


def _script(name: str) -> str:
    return Path(__file__).with_name(name).read_text()


def _unit(command: list[str]) -> str:
    """Starting it waits until the tunnel has its address."""
    return f"""[Unit]
Description=Tunnel of tradewind's overlay
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=0

[Service]
ExecStart={" ".join(command)}
ExecStartPost=/bin/bash -c 'until ip -4 address show dev {INTERFACE} | grep -q inet; do sleep 0.2; done'
Restart=always
RestartSec=2

[Install]
WantedBy=multi-user.target
"""
