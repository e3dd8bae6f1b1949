"""The head's end of the overlay: who may come in.

One file is both the state and the configuration of WireGuard. It is put in place whole and then applied with
`wg syncconf`, which leaves the tunnels of other peers alone; `wg setconf` would cut them all, as the hub cannot dial
out to anybody (measured: 8 to 16 s). A node is in the file before its machine is asked for, so its first handshake is
answered. The file belongs to the user who runs the cluster; only `wg` itself is run as root.
"""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from tradewind.clusters.overlay.keys import new_private_key, public_key
from tradewind.clusters.overlay.network import INTERFACE, Overlay
from tradewind.clusters.overlay.peer import Peer, Ticket
from tradewind.errors import IntegrityError, NotFoundError, SpecError, TradewindError

FOLDER = Path("/etc/tradewind/overlay")
CONFIGURATION = f"{INTERFACE}.conf"
LAST = "last"
"""The address that was given last."""
_NAME = re.compile(r"[^\s#]+")
_PEER = re.compile(
    r"# (?P<name>\S+)\n\[Peer\]\nPublicKey = (?P<public_key>\S+)\nAllowedIPs = (?P<address>[0-9.]+)/32\n"
)
_PRIVATE = re.compile(r"^PrivateKey = (\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class Hub:
    """Safe to use from several threads and processes at once."""

    overlay: Overlay
    folder: Path = FOLDER

    def create(self) -> None:
        """Make the head's key and an empty list of peers, unless they are there."""
        with self._locked():
            if not self._path.exists():
                self._write(new_private_key(), [])

    def admit(self, name: str, *, alive: Collection[str] = ()) -> Ticket:
        """Let a node in that is about to be launched, and give what it needs to join.

        `alive` are the addresses of nodes that Ray holds to be alive: none of them is given again, because Ray would
        take the new node for the old one. Raises SpecError for a name that is in use, CapacityError when the subnet is
        full, TradewindError when the tunnel is down.
        """
        if not _NAME.fullmatch(name):
            raise SpecError(f"{name!r} cannot be the name of a node", hint="a name is one word without #")
        with self._locked():
            peers = self.peers()
            if name in {peer.name for peer in peers}:
                raise SpecError(f"{name} is in the overlay already", hint="dismiss it first")
            address = self._next_address(peers, alive)
            ticket = Ticket(self.overlay, name, address, self.public_key(), new_private_key())
            self._change(peers, [*peers, Peer(name, address, public_key(ticket.private_key))])
            (self.folder / LAST).write_text(address)
        return ticket

    def rename(self, ticket: Ticket, name: str) -> Ticket:
        """For another node than it was made for, which has not come. WireGuard knows no names, so it is not asked.

        Raises NotFoundError for one that is not in the overlay.
        """
        with self._locked():
            peers = self.peers()
            if ticket.name not in {peer.name for peer in peers}:
                raise NotFoundError(f"{ticket.name} is not in the overlay", hint="admit it first")
            renamed = [replace(peer, name=name) if peer.name == ticket.name else peer for peer in peers]
            self._write(self._private_key(), renamed)
        return replace(ticket, name=name)

    def dismiss(self, name: str) -> bool:
        """Let a node in no more. Returns whether it was there."""
        with self._locked():
            peers = self.peers()
            rest = [peer for peer in peers if peer.name != name]
            if len(rest) == len(peers):
                return False
            self._change(peers, rest)
        return True

    def peers(self) -> list[Peer]:
        return [Peer(**match.groupdict()) for match in _PEER.finditer(self._read())]

    def address_of(self, name: str) -> str | None:
        """Where a node is reached through the tunnel; None when it is not in the overlay."""
        return next((peer.address for peer in self.peers() if peer.name == name), None)

    def public_key(self) -> str:
        return public_key(self._private_key())

    def handshakes(self) -> dict[str, int]:
        """When each peer was last heard of, by its address, in unix seconds; 0 is never."""
        address_of = {peer.public_key: peer.address for peer in self.peers()}
        lines = _as_root("wg", "show", INTERFACE, "latest-handshakes").splitlines()
        seen = dict(line.split() for line in lines)
        return {address_of[key]: int(when) for key, when in seen.items() if key in address_of}

    @property
    def _path(self) -> Path:
        return self.folder / CONFIGURATION

    def _next_address(self, peers: list[Peer], alive: Collection[str]) -> str:
        last = self.folder / LAST
        taken = {*alive, *(peer.address for peer in peers)}
        return self.overlay.next_address(taken, after=last.read_text() if last.exists() else None)

    def _private_key(self) -> str:
        found = _PRIVATE.search(self._read())
        if not found:
            raise IntegrityError(f"{self._path} has no private key", hint="delete it, and set the hub up again")
        return found[1]

    def _read(self) -> str:
        try:
            return self._path.read_text()
        except FileNotFoundError as exc:
            hint = "run `python -m tradewind.clusters.overlay hub` on the head first"
            raise NotFoundError(f"this machine is no hub: {self._path} is missing", hint=hint) from exc

    def _write(self, private_key: str, peers: list[Peer]) -> None:
        handle, name = tempfile.mkstemp(dir=self.folder, prefix=".")
        with os.fdopen(handle, "w") as file:
            file.write(_text(private_key, self.overlay.port, peers))
        Path(name).replace(self._path)

    def _change(self, before: list[Peer], after: list[Peer]) -> None:
        """All or nothing: what cannot be applied is not kept either."""
        private_key = self._private_key()
        self._write(private_key, after)
        try:
            _as_root("wg", "syncconf", INTERFACE, str(self._path))
        except TradewindError:
            self._write(private_key, before)
            raise

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _text(private_key: str, port: int, peers: list[Peer]) -> str:
    head = f"[Interface]\nPrivateKey = {private_key}\nListenPort = {port}\n"
    return "\n".join([head, *map(_block, peers)])


def _block(peer: Peer) -> str:
    return f"# {peer.name}\n[Peer]\nPublicKey = {peer.public_key}\nAllowedIPs = {peer.address}/32\n"


def _as_root(*command: str) -> str:
    """Raises TradewindError with what the command said."""
    before = () if os.geteuid() == 0 else ("sudo", "--non-interactive")
    try:
        done = subprocess.run([*before, *command], capture_output=True, text=True, check=True)  # noqa: S603
    except FileNotFoundError as exc:
        raise NotFoundError(f"there is no {exc.filename} on this machine", hint="install wireguard-tools") from exc
    except subprocess.CalledProcessError as exc:
        said = exc.stderr.strip()
        hint = "is the tunnel up? `systemctl status tradewind-tunnel`"
        raise TradewindError(f"{' '.join(command)} failed: {said}", hint=hint) from exc
    return done.stdout
