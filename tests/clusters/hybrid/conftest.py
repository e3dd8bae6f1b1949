"""A cloud of two regions, hosts behind a stand-in for ssh, and clusters of both."""

from __future__ import annotations

import os
import stat
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tradewind.testing.clouds.ec2 import Ec2, start_ec2

pytest.importorskip("ray.autoscaler.node_provider")

WEST, EAST = "us-west-2", "us-east-1"
IMAGE = "ami-0a2b85e15b7c0ac34"
KEY = b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB+z1L4d+OVV1xTAgpbBCUBapUl9dsqjlIOGPgWp+H2E"
"""Made for these tests; nobody has the other half."""

SSH = """
    #!/usr/bin/env python3
    # Each host is a folder; `log` in it gets every command, `denied` makes it refuse the key, no folder is no host.
    import os, pathlib, subprocess, sys
    *options, host, command = sys.argv[1:]
    place = pathlib.Path(os.environ["HOSTS"], host.rpartition("@")[2])
    if not place.is_dir():
        print(f"ssh: connect to host {host} port 22: No route to host", file=sys.stderr)
        sys.exit(255)
    with (place / "log").open("a") as log:
        log.write(command + "\\n")
    if (place / "denied").exists():
        print(f"{host}: Permission denied (publickey).", file=sys.stderr)
        sys.exit(255)
    environment = {**os.environ, "HOME": str(place)}
    sys.exit(subprocess.run(["bash", "-c", command], env=environment, stdin=subprocess.DEVNULL).returncode)
"""


@pytest.fixture(scope="session")
def server() -> Iterator[Ec2]:
    with start_ec2({WEST: "10.91.0.0/20", EAST: "10.91.16.0/20"}) as ec2:
        for region in (WEST, EAST):
            ec2.client(region).import_key_pair(KeyName="harbour", PublicKeyMaterial=KEY)
        yield ec2


@pytest.fixture(scope="module")
def cloud(server: Ec2) -> Iterator[Ec2]:
    """With the environment that reaches it, which other files' clouds must not see."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        for name, value in {**server.environment, "NO_PROXY": "127.0.0.1,localhost"}.items():
            patch.setenv(name, value)
        yield server


@pytest.fixture
def ec2(cloud: Ec2) -> Iterator[Ec2]:
    """The cloud on a fine day, and without machines of earlier tests."""
    for machine in cloud.machines():
        cloud.interrupt(machine)
    yield cloud
    cloud.weather.sold_out.clear()
    cloud.weather.is_down, cloud.weather.lost_launches = False, 0
    cloud.announce()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@dataclass
class Hosts:
    folder: Path
    names: list[str] = field(default_factory=list)

    def add(self, *names: str) -> None:
        for name in names:
            (self.folder / name).mkdir()
            (self.folder / name / ".bashrc").touch()
            self.names.append(name)

    def log(self, name: str) -> str:
        path = self.folder / name / "log"
        return path.read_text() if path.exists() else ""

    def lease(self, name: str) -> str:
        path = self.folder / name / ".tradewind-cluster" / "lease"
        return path.read_text().strip() if path.exists() else ""

    def deny(self, name: str) -> None:
        (self.folder / name / "denied").touch()


@pytest.fixture
def hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hosts:
    """Own hosts: what is sent to `ssh` runs in a shell of this machine, with a home for each host."""
    programs = tmp_path / "bin"
    programs.mkdir()
    ssh = programs / "ssh"
    ssh.write_text(textwrap.dedent(SSH).lstrip())
    ssh.chmod(ssh.stat().st_mode | stat.S_IXUSR)
    folder = tmp_path / "hosts"
    folder.mkdir()
    monkeypatch.setenv("HOSTS", str(folder))
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return Hosts(folder)


def backend(region: str) -> dict[str, Any]:
    return {"type": "aws", "region": region, "cache_stopped_nodes": False, "use_internal_ips": True}


def candidate(name: str, backend: str, usd: float, *, market: str = "on_demand", **node_config: Any) -> dict[str, Any]:
    spot = {"InstanceMarketOptions": {"MarketType": "spot"}} if market == "spot" else {}
    config = {"InstanceType": "m5.large", "ImageId": IMAGE, "KeyName": "harbour", **spot, **node_config}
    return {"name": name, "backend": backend, "market": market, "usd_per_hour": usd, "node_config": config}


def owned(name: str, backend: str = "berlin") -> dict[str, Any]:
    return {"name": name, "backend": backend, "market": "owned", "usd_per_hour": 0.0, "node_config": {}}


@pytest.fixture
def subnets(cloud: Ec2) -> dict[str, list[str]]:
    def first(region: str) -> list[str]:
        return [cloud.client(region).describe_subnets()["Subnets"][0]["SubnetId"]]

    return {region: first(region) for region in (WEST, EAST)}


def tags(node_type: str = "cpu", kind: str = "worker", request: str = "r-1") -> dict[str, str]:
    """As Ray's autoscaler gives them."""
    return {
        "ray-node-name": f"ray-harbour-{kind}",
        "ray-node-type": kind,
        "ray-node-status": "uninitialized",
        "ray-launch-config": "c0ffee",
        "ray-launch-request": request,
        "ray-user-node-type": node_type,
    }


@dataclass(frozen=True)
class Harbour:
    """A cluster in two regions and, where there are hosts, in Berlin."""

    ec2: Ec2
    subnets: dict[str, list[str]]

    def settings(self, *, hosts: list[str] | None = None, **cluster: Any) -> dict[str, Any]:
        backends: dict[str, Any] = {"west": backend(WEST), "east": backend(EAST)}
        if hosts:
            backends["berlin"] = {"type": "static", "hosts": hosts, "ssh_user": "ray", "stop_command": "true"}
        return {
            "type": "external",
            "module": "tradewind.clusters.hybrid.HybridNodeProvider",
            "use_internal_ips": True,
            "cluster": {"owner": "acme", **cluster},
            "backends": backends,
        }

    def west(self, usd: float = 0.1, *, market: str = "spot", **node_config: Any) -> dict[str, Any]:
        return candidate("west-1", "west", usd, market=market, SubnetIds=self.subnets[WEST], **node_config)

    def east(self, usd: float = 0.2, *, market: str = "on_demand", **node_config: Any) -> dict[str, Any]:
        return candidate("east-1", "east", usd, market=market, SubnetIds=self.subnets[EAST], **node_config)

    def sell_out(self, *lines: str) -> None:
        self.ec2.weather.sold_out |= set(lines)
        self.ec2.announce()

    def places(self) -> list[str]:
        return sorted(machine.place for machine in self.ec2.machines())


@pytest.fixture
def harbour(ec2: Ec2, subnets: dict[str, list[str]]) -> Harbour:
    return Harbour(ec2, subnets)
