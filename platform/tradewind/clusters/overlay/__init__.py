"""The overlay: nodes in networks that cannot reach each other, joined by WireGuard.

The head is the hub. A launch lets its node in (`Hub.admit`) before the machine is asked for, and puts what it gets into
the machine's user data (`cloud_init`); an end lets it in no more (`Hub.dismiss`).
"""

from tradewind.clusters.overlay.cloud_init import cloud_init
from tradewind.clusters.overlay.environment import (
    collective_environment,
    head_environment,
    site_interface,
    wait_command,
    worker_environment,
)
from tradewind.clusters.overlay.hub import Hub
from tradewind.clusters.overlay.network import INTERFACE, Overlay
from tradewind.clusters.overlay.peer import Peer, Ticket
from tradewind.clusters.overlay.placement import labels_flag, same_site_placement, site_selector, site_with_room

__all__ = [
    "INTERFACE",
    "Hub",
    "Overlay",
    "Peer",
    "Ticket",
    "cloud_init",
    "collective_environment",
    "head_environment",
    "labels_flag",
    "same_site_placement",
    "site_interface",
    "site_selector",
    "site_with_room",
    "wait_command",
    "worker_environment",
]
