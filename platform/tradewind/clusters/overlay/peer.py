"""Who is in the overlay, and what a node is given to join it."""

from __future__ import annotations

from dataclasses import dataclass, field

from tradewind.clusters.overlay.network import KEEPALIVE_S, Overlay


@dataclass(frozen=True)
class Peer:
    """A node as the hub knows it. `name` is the cluster's own word for it."""

    name: str
    address: str
    public_key: str


@dataclass(frozen=True)
class Ticket:
    """What lets one node in."""

    overlay: Overlay
    name: str
    address: str
    hub_public_key: str
    private_key: str = field(repr=False)

    def configuration(self) -> str:
        """The text for `wg setconf`. The whole subnet goes to the hub, so that workers reach each other through it."""
        return f"""[Interface]
PrivateKey = {self.private_key}

[Peer]
PublicKey = {self.hub_public_key}
Endpoint = {self.overlay.endpoint}:{self.overlay.port}
AllowedIPs = {self.overlay.network}
PersistentKeepalive = {KEEPALIVE_S}
"""
