"""What every machine runs: how Ray is installed, started with a token and fixed ports, and watched by the sentinel."""

from __future__ import annotations

from collections.abc import Mapping

from tradewind.clusters.head.command import RECONNECT, supervised
from tradewind.clusters.outages import outage_flag
from tradewind.clusters.overlay import (
    INTERFACE,
    Overlay,
    head_environment,
    labels_flag,
    wait_command,
    worker_environment,
)
from tradewind.clusters.overlay.environment import HEALTH_CHECK_FAILURES
from tradewind.clusters.ports import GCS, start_flags
from tradewind.clusters.render.blueprint import Blueprint
from tradewind.clusters.sentinel.command import start_command
from tradewind.specs.cluster import ONPREM

UV = "0.9.5"
TOKEN_FILE = "~/.ray/auth_token"  # noqa: S105 - where it is, not what it is
ENVIRONMENT = "~/ray-env"
TOKEN = {"RAY_AUTH_MODE": "token"}
OWN_ADDRESS = f"ip -4 -o addr show {INTERFACE} | tr -s ' /' ' ' | cut -d ' ' -f 4"
"""Of the machine, in the tunnel."""

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


def initialization_commands() -> list[str]:
    """Before anything is installed; the token has been copied by then."""
    return ["chmod 700 ~/.ray && chmod 600 ~/.ray/auth_token"]


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
    """What the head launches machines with, and the hub of the overlay."""
    packages = [f"'{package}'" for cloud in cluster.clouds for package in SDKS[cloud]]
    python = f"{ENVIRONMENT}/bin/python"
    commands = [f"~/.local/bin/uv pip install --python {python} {' '.join(packages)}"] if packages else []
    if wish := cluster.spec.overlay:
        options = f"--subnet {wish.subnet} --endpoint {wish.endpoint} --port {wish.port} --owner $USER"
        commands.append("sudo apt-get install -qy nftables wireguard-tools")
        commands.append(f"sudo {python} -m tradewind.clusters.overlay hub {options}")
    return commands


def head_start_commands(cluster: Blueprint) -> list[str]:
    overlay = overlay_of(cluster)
    address = f"--node-ip-address={overlay.head_address} " if overlay else ""
    is_far = overlay is not None or len(cluster.places) > 1
    flags = f"--head {address}{start_flags(head=True)} --dashboard-host=127.0.0.1 {outage_flag(far=is_far)}"
    start = supervised(f"ray start {flags} --autoscaling-config=~/ray_bootstrap_config.yaml")
    far = {"RAY_health_check_failure_threshold": str(HEALTH_CHECK_FAILURES)} if is_far else {}
    return _start(cluster, head_environment() if overlay else TOKEN | far, start)


def worker_start_commands(cluster: Blueprint) -> list[str]:
    overlay = overlay_of(cluster)
    if overlay is None:
        return _start(cluster, TOKEN | RECONNECT, f"ray start --address=$RAY_HEAD_IP:{GCS} {start_flags(head=False)}")
    start = f"ray start --address={overlay.head_address}:{GCS} --node-ip-address=$({OWN_ADDRESS})"
    stop, *commands = _start(cluster, worker_environment(), f"{start} {start_flags(head=False)} {labels_flag()}")
    return [stop, wait_command(overlay), *commands]


def overlay_of(cluster: Blueprint) -> Overlay | None:
    """Raises SpecError for a subnet that is none."""
    wish = cluster.spec.overlay
    return Overlay(subnet=wish.subnet, endpoint=wish.endpoint, port=wish.port) if wish else None


def _start(cluster: Blueprint, environment: Mapping[str, str], start: str) -> list[str]:
    """Machines of a site belong to no cloud, those of several to one that they find out by themselves."""
    variables = " ".join(f"{name}={value}" for name, value in environment.items())
    cloud = cluster.clouds[0] if len(cluster.clouds) == 1 and cluster.clouds[0] != ONPREM else None
    sentinel = f"export RAY_AUTH_MODE=token; {start_command(cloud=cloud)}"
    return ["ray stop", f"export {variables}; ulimit -n 65536; {start}", sentinel]
