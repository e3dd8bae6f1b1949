from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from tradewind.errors import SpecError
from tradewind.training.parallel.network import active_adapters, choose_network, interface_to


def adapters(folder: Path, **states: str) -> Path:
    for name, state in states.items():
        port = folder / name / "ports" / "1"
        port.mkdir(parents=True)
        (port / "state").write_text(f"{state}\n")
    return folder


def loopback() -> str:
    return next(name for name, found in psutil.net_if_addrs().items() if any(a.address == "127.0.0.1" for a in found))


def test_the_master_on_this_machine_is_reached_by_the_loopback() -> None:
    assert interface_to("127.0.0.1") == loopback()


def test_without_cuda_only_gloo_is_told() -> None:
    network = choose_network("127.0.0.1", environment={}, cuda=False)
    assert network.environment == {"GLOO_SOCKET_IFNAME": loopback()}
    assert network.said == f"ranks speak over {loopback()}, by which this machine reaches 127.0.0.1"


def test_with_cuda_nccl_takes_the_same_interface_by_its_whole_name(tmp_path: Path) -> None:
    network = choose_network("127.0.0.1", environment={}, cuda=True, infiniband=tmp_path)
    assert network.environment["NCCL_SOCKET_IFNAME"] == f"={loopback()}"
    assert "NCCL over sockets" in network.said


def test_what_is_set_is_kept_and_said() -> None:
    network = choose_network("127.0.0.1", environment={"GLOO_SOCKET_IFNAME": "eth7"}, cuda=False)
    assert network.environment == {}
    assert network.said.endswith("kept as set: GLOO_SOCKET_IFNAME=eth7")


def test_adapters_that_are_up_are_said(tmp_path: Path) -> None:
    folder = adapters(tmp_path, mlx5_1="4: ACTIVE", mlx5_0="4: ACTIVE", mlx5_2="1: DOWN")
    assert active_adapters(folder) == ["mlx5_0", "mlx5_1"]
    network = choose_network("127.0.0.1", environment={}, cuda=True, infiniband=folder)
    assert "NCCL over mlx5_0, mlx5_1" in network.said
    assert "NCCL_SOCKET_NTHREADS" not in network.environment


def test_a_tunnel_is_all_that_ranks_speak_over(tmp_path: Path) -> None:
    folder = adapters(tmp_path, mlx5_0="4: ACTIVE")
    network = choose_network("192.0.2.1", environment={}, cuda=True, overlay=loopback(), infiniband=folder)
    assert network.environment["GLOO_SOCKET_IFNAME"] == loopback()
    assert network.environment["NCCL_IB_DISABLE"] == "1"


def test_a_tunnel_that_is_down_is_refused() -> None:
    with pytest.raises(SpecError, match=r"no interface 'tunnel9' on this machine \(known: .*\)"):
        choose_network("127.0.0.1", environment={}, cuda=False, overlay="tunnel9")


def test_a_master_without_a_name_is_refused() -> None:
    with pytest.raises(SpecError, match=r"no route from this machine to 'nowhere\.invalid'"):
        interface_to("nowhere.invalid")
