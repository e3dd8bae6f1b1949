"""Hosts in networks that cannot reach each other: a head with a public address, and workers, each behind a NAT.

    head 203.0.113.10 ─ internet ─┬─ gate-1 (NAT) ─ worker-1 10.1.0.10
                                  └─ gate-2 (NAT) ─ worker-2 10.2.0.10

A host is a set of namespaces (network, mounts, processes, names) with `/tmp`, `/run`, `/dev/shm`, `/etc/tradewind` and
a home of its own. The way to gate-2 carries 1400 bytes and drops the ICMP that would say so. Nothing is made in the
machine's own network. Needs root, iproute2, nftables, util-linux and `/dev/net/tun`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import yaml

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv" / "bin" / "python"
HEAD = "203.0.113.10"
SMALL_MTU = 1400
OWN = ("/tmp", "/run", "/dev/shm", "/etc/tradewind", "/etc/systemd/system")
INIT = """
set -e
mount --make-rprivate /
for folder in {own}; do mount -t tmpfs tmpfs $folder; done
chmod 1777 /tmp /dev/shm
mkdir -p /tmp/home
hostname {name}
printf '127.0.0.1 localhost\\n{address} {name}\\n' > /tmp/hosts
mount --bind /tmp/hosts /etc/hosts
echo ready
while :; do wait; sleep 1; done
"""


def is_possible() -> str:
    """Why these networks cannot be made here; empty when they can."""
    if os.geteuid():
        return "needs root"
    missing = [name for name in ("ip", "nft", "wg", "wireguard-go", "unshare", "nsenter") if not shutil.which(name)]
    return f"needs {', '.join(missing)}" if missing else ""


@dataclass
class Host:
    """A machine of the lab. `pid` is its first process, as this machine counts."""

    name: str
    address: str
    space: str
    pid: int
    running: list[subprocess.Popen[Any]] = field(default_factory=list)

    def run(self, *command: str, timeout_s: float = 60, check: bool = True, **given: Any) -> str:
        """What a command on this host writes, both streams together."""
        done: subprocess.CompletedProcess[str] = subprocess.run(
            self.inside(*command),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_s,
            **given,
        )
        assert not check or done.returncode == 0, f"{self.name}: {' '.join(command)}: {done.stdout}"
        return done.stdout

    def start(self, *command: str, log: Path) -> subprocess.Popen[Any]:
        with log.open("ab") as file:
            process = subprocess.Popen(self.inside(*command), stdout=file, stderr=file, stdin=subprocess.DEVNULL)
        self.running.append(process)
        return process

    def inside(self, *command: str) -> list[str]:
        enter = ["nsenter", "--target", str(self.pid), "--mount", "--uts", "--ipc", "--net", "--pid", "--"]
        return [
            *enter,
            "env",
            "--ignore-environment",
            *(f"{key}={value}" for key, value in ENVIRONMENT.items()),
            *command,
        ]

    def write(self, path: str, text: str, mode: str = "0644") -> None:
        script = 'install -D -m "$2" /dev/stdin "$1"'
        self.run("bash", "-c", script, "write", path, mode, input=text)

    def boot(self, user_data: str, log: Path) -> None:
        """What cloud-init would do of a document of ours, without packages, and with a loop in place of systemd."""
        document = yaml.safe_load(user_data)
        for file in document["write_files"]:
            self.write(file["path"], file["content"], file["permissions"])
        self.supervise("tradewind-tunnel.service", log)

    def supervise(self, unit: str, log: Path) -> None:
        text = self.run("cat", f"/etc/systemd/system/{unit}")
        command = next(line.removeprefix("ExecStart=") for line in text.splitlines() if line.startswith("ExecStart="))
        self.start("bash", "-c", f"while :; do {command}; sleep 2; done", log=log)


ENVIRONMENT = {
    "PATH": f"{PYTHON.parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/tmp/home",
    "RAY_USAGE_STATS_ENABLED": "0",
    "PYTHONPATH": str(ROOT),
}


@dataclass
class Networks:
    prefix: str
    hosts: Mapping[str, Host]

    def __getitem__(self, name: str) -> Host:
        return self.hosts[name]

    @contextmanager
    def outage(self) -> Iterator[None]:
        """No packet passes between the networks while the block runs."""
        space = f"{self.prefix}-internet"
        rules = "table inet outage { chain through { type filter hook forward priority 0; policy drop; }; }"
        sh(f"ip netns exec {space} nft '{rules}'")
        try:
            yield
        finally:
            sh(f"ip netns exec {space} nft delete table inet outage")

    def reaches(self, space: str, address: str, port: int) -> bool:
        """Whether a TCP connection is made from a network, past any tunnel."""
        probe = f"exec 3<>/dev/tcp/{address}/{port}"
        command = ["ip", "netns", "exec", f"{self.prefix}-{space}", "timeout", "1.5", "bash", "-c", probe]
        return subprocess.run(command, capture_output=True).returncode == 0


@contextmanager
def networks() -> Iterator[Networks]:
    prefix = f"two{os.getpid()}"
    with ExitStack() as stack:
        for name in ("internet", "head", "gate-1", "gate-2", "worker-1", "worker-2"):
            space = f"{prefix}-{name}"
            sh(f"ip netns add {space}")
            stack.callback(sh, f"ip netns delete {space}")
            sh(f"ip -n {space} link set lo up")
        _connect_head(prefix)
        for number in (1, 2):
            _connect_worker(prefix, number)
        _drop_complaints(prefix)
        addresses = {"head": HEAD, "worker-1": "10.1.0.10", "worker-2": "10.2.0.10"}
        hosts = {name: stack.enter_context(_host(prefix, name, address)) for name, address in addresses.items()}
        yield Networks(prefix, hosts)


@contextmanager
def single_host() -> Iterator[Host]:
    """A host without any network but its own loopback."""
    prefix = f"one{os.getpid()}"
    space = f"{prefix}-host"
    sh(f"ip netns add {space}")
    try:
        sh(f"ip -n {space} link set lo up")
        with _host(prefix, "host", "127.0.1.1") as host:
            yield host
    finally:
        sh(f"ip netns delete {space}")


def until(holds: Callable[[], object], *, timeout_s: float = 60) -> float:
    """Seconds until it held."""
    start = time.monotonic()
    while not holds():
        assert time.monotonic() - start < timeout_s, "waited in vain"
        time.sleep(0.1)
    return time.monotonic() - start


def sh(command: str) -> None:
    done = subprocess.run(["bash", "-ec", command], capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {done.stderr}"


def _connect_head(prefix: str) -> None:
    sh(f"""
    ip link add head netns {prefix}-internet type veth peer name eth0 netns {prefix}-head
    ip -n {prefix}-internet address add 203.0.113.1/24 dev head; ip -n {prefix}-internet link set head up
    ip -n {prefix}-head address add {HEAD}/24 dev eth0; ip -n {prefix}-head link set eth0 up
    ip -n {prefix}-head route add default via 203.0.113.1
    ip netns exec {prefix}-internet sysctl -qw net.ipv4.ip_forward=1
    """)


def _connect_worker(prefix: str, number: int) -> None:
    """A gate's own public address is all that the internet knows; from outside nothing comes in unasked."""
    internet, gate, worker = f"{prefix}-internet", f"{prefix}-gate-{number}", f"{prefix}-worker-{number}"
    outside, inside = f"198.51.{100 + number}", f"10.{number}.0"
    mtu = SMALL_MTU if number == 2 else 1500
    sh(f"""
    ip link add gate{number} netns {internet} mtu {mtu} type veth peer name wan netns {gate} mtu {mtu}
    ip -n {internet} address add {outside}.1/24 dev gate{number}; ip -n {internet} link set gate{number} up
    ip -n {gate} address add {outside}.2/24 dev wan; ip -n {gate} link set wan up
    ip -n {gate} route add default via {outside}.1
    ip link add lan netns {gate} type veth peer name eth0 netns {worker}
    ip -n {gate} address add {inside}.1/24 dev lan; ip -n {gate} link set lan up
    ip -n {worker} address add {inside}.10/24 dev eth0; ip -n {worker} link set eth0 up
    ip -n {worker} route add default via {inside}.1
    ip netns exec {gate} sysctl -qw net.ipv4.ip_forward=1
    ip netns exec {gate} nft -f - <<RULES
table ip nat {{ chain out {{ type nat hook postrouting priority 100; oifname "wan" masquerade; }}; }}
table ip gate {{ chain through {{ type filter hook forward priority 0; policy accept;
    oifname "lan" ct state established,related accept; oifname "lan" drop; }}; }}
RULES
    """)


def _drop_complaints(prefix: str) -> None:
    """Path MTU discovery gets no answer, as behind many a firewall."""
    chain = "chain out { type filter hook output priority 0; icmp type destination-unreachable drop; }"
    for space in ("internet", "gate-2"):
        sh(f"ip netns exec {prefix}-{space} nft 'table ip hole {{ {chain}; }}'")


@contextmanager
def _host(prefix: str, name: str, address: str) -> Iterator[Host]:
    space = f"{prefix}-{name}"
    made = [folder for folder in OWN if not Path(folder).exists()]
    for folder in OWN:
        Path(folder).mkdir(parents=True, exist_ok=True)
    init = INIT.format(own=" ".join(OWN), name=name, address=address)
    unshare = ["unshare", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc"]
    command = ["ip", "netns", "exec", space, *unshare, "bash", "-c", init]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    host = None
    try:
        assert process.stdout is not None
        assert (said := process.stdout.readline()) == "ready\n", said
        (first,) = psutil.Process(process.pid).children()
        host = Host(name, address, space, first.pid)
        yield host
    finally:
        process.kill()  # and with its first process, all of the host's go
        process.communicate()
        for child in host.running if host else []:
            child.wait(20)
        for folder in made:
            shutil.rmtree(folder, ignore_errors=True)
