"""What every machine runs: how Ray is installed, started with a token and fixed ports, and watched by the sentinel."""

from __future__ import annotations

from tradewind.clusters.render.blueprint import Blueprint
from tradewind.clusters.render.ports import GCS, HEAD_FLAGS, NODE_FLAGS
from tradewind.clusters.sentinel.command import start_command
from tradewind.specs.cluster import ONPREM

UV = "0.9.5"
TOKEN_FILE = "~/.ray/auth_token"  # noqa: S105 - where it is, not what it is
ENVIRONMENT = "~/ray-env"
TUNNEL = "wg0"
LOST_AFTER_CHECKS = 10
"""Missed checks until a node counts as dead, of 3 s each and 10 s of waiting: 130 s, computed.

Measured with Ray 2.60 through a tunnel: with the default of 5 a node is dead 64 s into an outage; with 30 it outlived
90 s."""

SDKS = {
    "aws": ("boto3>=1.40",),
    "gcp": ("google-api-python-client>=2.180", "google-auth>=2.40"),
    "azure": (
        "azure-cli-core>=2.75",
        "azure-common>=1.1",
        "azure-identity>=1.25",
        "azure-mgmt-compute>=34",
        "azure-mgmt-network>=29",
        "azure-mgmt-resource==24.0.0",
        "msrest>=0.7",
        "msrestazure>=0.6",
    ),
    ONPREM: (),
}
"""What the autoscaler on the head needs. Ray 2.60 cannot import azure-mgmt-resource 26."""

DRIVER = (
    "if lspci | grep -qi nvidia && ! command -v nvidia-smi >/dev/null; then "
    "sudo apt-get install -qy linux-headers-$(uname -r) nvidia-headless-570-server nvidia-utils-570-server "
    "&& sudo modprobe nvidia; fi"
)


def initialization_commands(cluster: Blueprint) -> list[str]:
    """Before anything is installed; the token has been copied by then."""
    commands = ["chmod 700 ~/.ray && chmod 600 ~/.ray/auth_token"]
    if cluster.spec.overlay:
        commands.append(f"timeout 120 bash -c 'until ip -4 addr show {TUNNEL} | grep -q inet; do sleep 1; done'")
    return commands


def setup_commands(cluster: Blueprint) -> list[str]:
    spec = cluster.spec
    python = f"{ENVIRONMENT}/bin/python"
    commands = [
        f"command -v ~/.local/bin/uv >/dev/null || curl -LsSf https://astral.sh/uv/{UV}/install.sh | sh",
        f"test -x {python} || ~/.local/bin/uv venv --python {spec.python} {ENVIRONMENT}",
        f"~/.local/bin/uv pip install --python {python} 'ray[default]=={spec.ray}' '{spec.package}'",
        "grep -q ray-env ~/.bashrc || echo 'export PATH=$HOME/ray-env/bin:$PATH RAY_AUTH_MODE=token' >> ~/.bashrc",
    ]
    has_chips = any(one.resources.chips for one in cluster.candidates)
    return [*commands, *([DRIVER] if has_chips else []), *spec.setup]


def head_setup_commands(cluster: Blueprint) -> list[str]:
    packages = [f"'{package}'" for cloud in cluster.clouds for package in SDKS[cloud]]
    python = f"{ENVIRONMENT}/bin/python"
    return [f"~/.local/bin/uv pip install --python {python} {' '.join(packages)}"] if packages else []


def head_start_commands(cluster: Blueprint) -> list[str]:
    variables = ["RAY_AUTH_MODE=token"]
    flags = ["--head", *HEAD_FLAGS, *NODE_FLAGS]
    overlay = cluster.spec.overlay
    if len(cluster.clouds) > 1:
        variables.append(f"RAY_health_check_failure_threshold={LOST_AFTER_CHECKS}")
    if overlay:
        variables += _collectives()
        flags.insert(1, f"--node-ip-address={hub_address(overlay.subnet)}")
    start = f"ray start {' '.join(flags)} --autoscaling-config=~/ray_bootstrap_config.yaml"
    return _start(cluster, variables, start)


def worker_start_commands(cluster: Blueprint) -> list[str]:
    variables = ["RAY_AUTH_MODE=token"]
    flags = [f"--address=$RAY_HEAD_IP:{GCS}", *NODE_FLAGS]
    overlay = cluster.spec.overlay
    if overlay:
        variables += _collectives()
        flags[0] = f"--address={hub_address(overlay.subnet)}:{GCS}"
        flags.insert(1, f"--node-ip-address=$(ip -4 -o addr show {TUNNEL} | tr -s ' /' ' ' | cut -d ' ' -f 4)")
    return _start(cluster, variables, f"ray start {' '.join(flags)}")


def hub_address(subnet: str) -> str:
    """The head's address in the tunnel: the first of its network."""
    import ipaddress

    return str(next(ipaddress.ip_network(subnet).hosts()))


def _collectives() -> list[str]:
    """gloo and NCCL take the interface of the host's name otherwise, which other networks cannot reach."""
    return [f"GLOO_SOCKET_IFNAME={TUNNEL}", f"NCCL_SOCKET_IFNAME={TUNNEL}"]


def _start(cluster: Blueprint, variables: list[str], start: str) -> list[str]:
    """A machine of a site belongs to no cloud, and neither do those of several: these find out by themselves."""
    export = f"export {' '.join(variables)}; ulimit -n 65536;"
    cloud = cluster.clouds[0] if len(cluster.clouds) == 1 and cluster.clouds[0] != ONPREM else None
    return ["ray stop", f"{export} {start}", f"export RAY_AUTH_MODE=token; {start_command(cloud=cloud)}"]
