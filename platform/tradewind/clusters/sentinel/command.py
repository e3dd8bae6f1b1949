"""How a sentinel is started and kept running: a line for Ray's start commands, or a unit of systemd."""

from __future__ import annotations

LOCK = "/tmp/tradewind-sentinel-$(id -u).lock"  # noqa: S108 - a lock on it is all that it is for
LOG = "/tmp/tradewind-sentinel-$(id -u).log"  # noqa: S108


def start_command(*, cloud: str | None = None, python: str = "python") -> str:
    """A shell line that starts the sentinel, restarts it whenever it ends, and returns at once.

    Run again, it starts no second one. It belongs to the machine and not to Ray, so it survives `ray stop`. It goes
    into the start commands of the workers and of the head.
    """
    watch = f"{python} -m tradewind.clusters.sentinel{f' --cloud {cloud}' if cloud else ''}"
    loop = f"while :; do {watch}; sleep 1; done"
    return f"setsid --fork flock --nonblock --close {LOCK} bash -c '{loop}' >>{LOG} 2>&1 </dev/null"


def unit(*, python: str, user: str, cloud: str | None = None) -> str:
    """The text of `/etc/systemd/system/tradewind-sentinel.service`. `python` is an absolute path."""
    option = f" --cloud {cloud}" if cloud else ""
    return f"""[Unit]
Description=Spot sentinel of tradewind
After=network.target

[Service]
User={user}
ExecStart={python} -m tradewind.clusters.sentinel{option}
Restart=always
RestartSec=1

[Install]
WantedBy=multi-user.target
"""
