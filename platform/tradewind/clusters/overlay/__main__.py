"""`python -m tradewind.clusters.overlay`: make the head of a cluster the hub, or say who is in the overlay."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tradewind.clusters.overlay.hub import FOLDER, Hub
from tradewind.clusters.overlay.network import PORT, Overlay
from tradewind.clusters.overlay.node_files import UNIT, head_files, tunnel_command
from tradewind.errors import AuthError, TradewindError
from tradewind.units import format_seconds

SYSTEMD = Path("/run/systemd/system")
"""Where it is, systemd runs: https://www.freedesktop.org/software/systemd/man/sd_booted.html."""


def main(words: Sequence[str] | None = None) -> int:
    given = _parser().parse_args(words)
    try:
        overlay = Overlay(subnet=given.subnet, endpoint=given.endpoint, port=given.port)
        (_set_up if given.verb == "hub" else _list)(overlay, given.owner)
    except TradewindError as exc:
        print(f"{exc.message}{f' ({exc.hint})' if exc.hint else ''}", file=sys.stderr)  # noqa: T201
        return exc.exit_code
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tradewind.clusters.overlay", description=__doc__)
    parser.add_argument("verb", choices=["hub", "peers"], help="set this machine up as the hub, or list its peers")
    parser.add_argument("--subnet", default="10.99.0.0/24")
    parser.add_argument("--endpoint", default="localhost", help="where nodes elsewhere reach this machine")
    parser.add_argument("--port", type=int, default=PORT, help="the one UDP port that must be open to them")
    parser.add_argument("--owner", default=os.environ.get("SUDO_USER") or "root", help="the user who runs the cluster")
    return parser


def _set_up(overlay: Overlay, owner: str) -> None:
    """May be run again: the key and the peers stay."""
    if os.geteuid():
        raise AuthError("only root may set up a hub", hint="run it with sudo")
    Hub(overlay).create()
    for file in head_files(overlay):
        file.path.parent.mkdir(parents=True, exist_ok=True)
        file.path.write_text(file.text)
        file.path.chmod(file.mode)
    for path in (FOLDER, *FOLDER.iterdir()):
        shutil.chown(path, user=owner)
    if SYSTEMD.exists():
        subprocess.run(["systemctl", "daemon-reload"], check=True)  # noqa: S607
        subprocess.run(["systemctl", "enable", UNIT.name], check=True)  # noqa: S603, S607
        subprocess.run(["systemctl", "restart", UNIT.name], check=True)  # noqa: S603, S607
    else:
        command = shlex.join(tunnel_command(overlay, overlay.head_address))
        print(f"no systemd runs here; keep this running: {command}")  # noqa: T201


def _list(overlay: Overlay, _: str) -> None:
    hub = Hub(overlay)
    heard = hub.handshakes()
    for peer in hub.peers():
        since = heard.get(peer.address, 0)
        said = f"heard {format_seconds(time.time() - since)} ago" if since else "never heard"
        print(f"{peer.address}\t{peer.name}\t{said}")  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
