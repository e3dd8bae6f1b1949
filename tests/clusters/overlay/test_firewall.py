from __future__ import annotations

import pytest

from tradewind.clusters.overlay.firewall import firewall
from tradewind.clusters.ports import closed_ports


@pytest.mark.parametrize("port", closed_ports())
def test_every_port_of_ray_is_closed(port: str) -> None:
    (line,) = (line for line in firewall().splitlines() if "tcp dport" in line)
    assert line.strip().endswith("drop")
    assert port in line.partition("{")[2].partition("}")[0].replace(" ", "").split(",")


def test_tunnel_and_loopback_pass_first() -> None:
    text = firewall()
    assert text.index('iifname { "lo", "wg0" } accept') < text.index("tcp dport")


def test_only_the_head_listens() -> None:
    assert "udp dport 51820 accept" in firewall(listen_port=51820)
    assert "udp" not in firewall()
