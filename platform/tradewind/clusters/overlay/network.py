"""The overlay: one subnet in which all nodes of a cluster reach each other, whatever network each of them is in.

A star: the head is the hub and has the first address and one open UDP port; everybody else dials out to it, so that
networks behind NAT need nothing opened.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tradewind.errors import CapacityError, SpecError, did_you_mean

INTERFACE = "wg0"
PORT = 51820
MTU = 1280
"""What every IPv6 link must carry (RFC 8200, section 5), so the tunnel's packets pass wherever IP does. Measured: at
1420 and an underlay of 1400 that drops its ICMP, 20 MB hung for ever; at 1280 they took no longer than at 1340."""
KEEPALIVE_S = 25
"""Shorter than NAT forgets: https://www.wireguard.com/quickstart/#nat-and-firewall-traversal-persistence."""


@dataclass(frozen=True)
class Overlay:
    subnet: str
    endpoint: str
    """The name or address under which nodes elsewhere reach the head."""
    port: int = PORT

    def __post_init__(self) -> None:
        if self.network.version != 4 or self.network.num_addresses < 4:
            raise SpecError(f"overlay: {self.subnet} has no room for a head and workers", hint="try 10.99.0.0/24")
        if not 0 < self.port < 65536:
            raise SpecError(f"overlay: {self.port} is not a port", hint=f"the usual one is {PORT}")
        if not self.endpoint or self.endpoint != self.endpoint.strip() or "/" in self.endpoint:
            raise SpecError(f"overlay: {self.endpoint!r} is not a host", hint="give the head's public name or address")

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Overlay:
        """The overlay of a cluster's YAML: `subnet`, `endpoint` and `port`. Raises SpecError."""
        known = set(cls.__dataclass_fields__)
        if unknown := sorted(values.keys() - known):
            raise SpecError(f"overlay: unknown key {unknown[0]!r}{did_you_mean(unknown[0], known)}")
        if missing := sorted({"subnet", "endpoint"} - values.keys()):
            raise SpecError(f"overlay: {missing[0]} is missing")
        return cls(**values)

    @cached_property
    def network(self) -> ipaddress.IPv4Network:
        try:
            return ipaddress.IPv4Network(self.subnet)
        except ValueError as exc:
            raise SpecError(f"overlay: {self.subnet!r} is not a subnet: {exc}", hint="try 10.99.0.0/24") from exc

    @property
    def head_address(self) -> str:
        return str(self.network[1])

    def next_address(self, taken: Collection[str], *, after: str | None = None) -> str:
        """The next free address after one that was given last, from the start again at the end.

        So an address comes back as late as can be. Raises CapacityError when all are taken.
        """
        first, last = int(self.network[2]), int(self.network[-2])
        start = int(ipaddress.IPv4Address(after)) + 1 if after else first
        count = last - first + 1
        for step in range(count):
            address = str(ipaddress.IPv4Address(first + (start - first + step) % count))
            if address not in taken:
                return address
        raise CapacityError(
            f"all {count} addresses of the overlay {self.subnet} are taken", hint="take a larger subnet"
        )
