"""Faults that let others in: no token, ports and dashboards that face the network, secrets in files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tradewind.clusters.lint.part import Part
from tradewind.clusters.lint.rule import Fault

STARTS = ("head_start_ray_commands", "worker_start_ray_commands")
SSH = 22
_START = re.compile(r"\bray start\b")
_TOKEN = re.compile(r"\bRAY_AUTH_TOKEN=(?!\$)\S{8,}")
_EVERYBODY = ("0.0.0.0/0", "::/0")


def no_token(part: Part) -> Iterator[Fault]:
    """Both sides need it: a node without it cannot join a head with it."""
    for key in STARTS:
        started = [(where, command) for where, command in part.commands(key) if _START.search(command)]
        for where, command in started:
            if "RAY_AUTH_MODE=token" not in command:
                yield where, "Ray starts without a token: whoever reaches its ports can run code"
        if not started and part.provider != "kuberay":
            yield (key,), f"{key} is missing, and Ray's default starts without a token"


def open_dashboard(part: Part) -> Iterator[Fault]:
    for where, command in part.commands(STARTS[0]):
        found = re.search(r"--dashboard-host[= ]['\"]?(0\.0\.0\.0|::|\*)", command)
        if found:
            yield where, f"the dashboard listens on {found[1]}, which is every network of the head"


def token_in_file(part: Part) -> Iterator[Fault]:
    for key in (*STARTS, "setup_commands", "head_setup_commands", "worker_setup_commands", "initialization_commands"):
        for where, command in part.commands(key):
            if _TOKEN.search(command):
                yield where, "the token itself stands in the file"


def open_ports(part: Part) -> Iterator[Fault]:
    """Rules of a security group that let everybody reach more than SSH."""
    for where, group in _security_groups(part):
        for index, rule in enumerate(group.get("IpPermissions") or []):
            ranges = [*(rule.get("IpRanges") or []), *(rule.get("Ipv6Ranges") or [])]
            everybody = [one for one in ranges if one.get("CidrIp", one.get("CidrIpv6")) in _EVERYBODY]
            first, last = rule.get("FromPort", 0), rule.get("ToPort", 65535)
            if everybody and (first, last) != (SSH, SSH):
                yield (*where, "IpPermissions", index), f"ports {first} to {last} are open to everybody"


def untunnelled(part: Part) -> Iterator[Fault]:
    """Several networks, and nothing that joins them."""
    if part.networks > 1 and not part.get("provider", "overlay"):
        yield ("provider",), f"machines of {part.networks} networks are one cluster, and no overlay joins them"


def _security_groups(part: Part) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    found = part.get("provider", "security_group")
    if isinstance(found, dict):
        yield ("provider", "security_group"), found
    for name, backend in part.backends.items():
        if isinstance(backend.get("security_group"), dict):
            yield ("provider", "backends", name, "security_group"), backend["security_group"]
