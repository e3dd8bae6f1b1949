"""The overlay's door: a worker is let in before its machine is asked for, and no more when the machine is gone.

Each machine has a key of its own, so with an overlay each is asked for by itself. Rented machines are told by user
data, which they read before anybody can log in; own hosts are told when they are taken. Of a machine that was surely
not made, the key serves for the next candidate: making one takes processes, for which a failover should not wait.
"""

from __future__ import annotations

import base64
import shlex
import threading
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from tradewind.clusters.hybrid.backend import Backend
from tradewind.clusters.overlay import Hub, Ticket, cloud_init
from tradewind.clusters.overlay.node_files import UNIT, tunnel_command, worker_files
from tradewind.clusters.overlay.user_data import with_user_data

JOIN = "tradewind-join"
"""Key of an own host's node configuration: a command for when it is taken."""

PROCESS = "$HOME/.tradewind-cluster/tunnel.pid"
"""Of the tunnel on hosts without systemd."""


@dataclass
class Door:
    hub: Hub
    ttl_s: float
    """Rented machines end by themselves when that time is up."""
    _asked: dict[str, Ticket | None] = field(default_factory=dict)
    """By token, also those of spare tickets."""
    _spare: list[Ticket] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def open(self, backend: Backend, node_config: dict[str, Any], token: str, market: str) -> dict[str, Any]:
        """Let one machine in, and give what it is to be launched with. Raises what the overlay says."""
        ticket = self._ticket(token)
        if backend.kind == "static":
            return {**node_config, JOIN: join_command(ticket, site=backend.name, market=market)}
        text = cloud_init(ticket, site=backend.name, market=market, ttl_s=self.ttl_s)
        return with_user_data(backend.kind, node_config, text)

    def settled(self, token: str, *, made: bool, maybe: bool) -> None:
        """A request is over. `maybe` is whether it may still come to a machine, which is then let in no more."""
        with self._lock:
            ticket = self._asked.get(token)
            if ticket and not made and not maybe:
                self._spare.append(ticket)
                return
            self._asked.pop(token, None)
        if not made:
            self.hub.dismiss(token)

    def tidy(self) -> None:
        """A launch is over. Who was not made is let in no more."""
        with self._lock:
            spare, self._spare = self._spare, []
        for ticket in spare:
            self.hub.dismiss(ticket.name)
            with self._lock:
                self._asked.pop(ticket.name, None)

    def keep_only(self, tokens: Collection[str]) -> None:
        """Shut the door behind machines that are gone: all but these and those that are being asked for."""
        with self._lock:
            asked = set(self._asked)
        for peer in self.hub.peers():
            if peer.name not in tokens and peer.name not in asked:
                self.hub.dismiss(peer.name)

    def _ticket(self, token: str) -> Ticket:
        with self._lock:
            self._asked[token] = None
            if self._spare:
                spare = self._spare.pop()
                self._asked[token] = ticket = self.hub.rename(spare, token)
                del self._asked[spare.name]
                return ticket
        self._asked[token] = ticket = self.hub.admit(token)
        return ticket


def join_command(ticket: Ticket, *, site: str, market: str = "") -> str:
    """For a host where the user is root or may use sudo without a password, and where WireGuard's tools are."""
    written = worker_files(ticket, site=site, market=market)
    files = "".join(_write(str(file.path), file.text, file.mode) for file in written)
    tunnel = shlex.join(tunnel_command(ticket.overlay, ticket.address))
    alone = shlex.quote(f'echo $$ > "$0"; exec {tunnel} > /tmp/tradewind-tunnel.log 2>&1 < /dev/null')
    return (
        f"set -e; S=$(command -v sudo || true); {files}{_end_of_tunnel()}"
        f" if [ -d /run/systemd/system ]; then $S systemctl daemon-reload; $S systemctl enable {UNIT.name};"
        f" $S systemctl restart {UNIT.name}; else $S setsid --fork bash -c {alone} {PROCESS}; fi"
    )


def leave_command() -> str:
    """Ends the tunnel of a host, where there is one."""
    return (
        f"S=$(command -v sudo || true); {_end_of_tunnel()}"
        f" if [ -d /run/systemd/system ] && [ -e {UNIT} ]; then $S systemctl disable --now {UNIT.name}; fi"
    )


def _write(path: str, text: str, mode: int) -> str:
    coded = base64.b64encode(text.encode()).decode()
    return f"echo {coded} | base64 -d | $S install -D -m {mode:04o} /dev/stdin {shlex.quote(path)}; "


def _end_of_tunnel() -> str:
    return f"if [ -e {PROCESS} ]; then $S kill $(cat {PROCESS}) 2>/dev/null || true; $S rm -f {PROCESS}; fi;"
