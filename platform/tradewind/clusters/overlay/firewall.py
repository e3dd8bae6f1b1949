"""Rules of nftables that close Ray's ports to everybody outside the tunnel.

Ray binds most of its ports on every interface (measured, Ray 2.60), whatever address a node is given, and its health
and metrics answer without a token. A cloud's own firewall may do the same; a network of one's own has none.
"""

from __future__ import annotations

from tradewind.clusters.overlay.network import INTERFACE
from tradewind.clusters.ports import closed_ports

TABLE = "tradewind"


def firewall(*, listen_port: int | None = None) -> str:
    """The text for `nft -f`, which replaces the rules of an earlier time. `listen_port` is the hub's, on the head.

    Established connections pass first, as a few of Ray's ports are in the range from which Linux takes its own. The hub
    forwards between nodes of the overlay, and neither into it nor out of it.
    """
    accepted = f"        udp dport {listen_port} accept\n" if listen_port else ""
    return f"""table inet {TABLE}
delete table inet {TABLE}
table inet {TABLE} {{
    chain input {{
        type filter hook input priority filter; policy accept;
        ct state established,related accept
        iifname {{ "lo", "{INTERFACE}" }} accept
        tcp dport {{ {", ".join(closed_ports())} }} drop
{accepted}    }}
    chain forward {{
        type filter hook forward priority filter; policy accept;
        iifname "{INTERFACE}" oifname != "{INTERFACE}" drop
        iifname != "{INTERFACE}" oifname "{INTERFACE}" drop
    }}
}}
"""
