from __future__ import annotations

from pathlib import Path

import pytest

from tradewind.clusters.overlay.environment import head_environment, site_interface, worker_environment

HEADER = "Iface\tDestination\tGateway\tFlags\n"


@pytest.mark.parametrize("environment", [head_environment(), worker_environment()])
def test_every_node_wants_the_token_and_keeps_collectives_in_the_tunnel(environment: dict[str, str]) -> None:
    assert environment["RAY_AUTH_MODE"] == "token"
    assert environment["GLOO_SOCKET_IFNAME"] == environment["NCCL_SOCKET_IFNAME"] == "wg0"


def test_health_checks_outlast_ninety_seconds_of_silence() -> None:
    """Each takes 10 s to fail, and 3 s pass before the next."""
    assert int(head_environment()["RAY_health_check_failure_threshold"]) * 10 > 90


@pytest.mark.parametrize(
    ("routes", "interface"),
    [
        ("ens5\t00000000\t0101A8C0\t0003\nwg0\t0000630A\t00000000\t0001\n", "ens5"),
        ("wg0\t0000630A\t00000000\t0001\nens5\t00000000\t0101A8C0\t0003\n", "ens5"),
        ("wg0\t00000000\t00000000\t0001\n", "wg0"),
        ("", "wg0"),
    ],
)
def test_sites_interface_is_that_of_the_default_route(tmp_path: Path, routes: str, interface: str) -> None:
    (tmp_path / "route").write_text(HEADER + routes)
    assert site_interface(tmp_path / "route") == interface
