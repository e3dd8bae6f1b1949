"""Keys of WireGuard, one pair for each node.

A worker's pair is made on the head, in the same step that asks the cloud for the machine, and the private key travels
in the machine's user data. A key made on the node itself would never travel, but its public half would have to reach
the hub over another way, and a machine behind NAT has none before its tunnel is up. What user data may hold is settled
by how little such a key is worth: it opens one address of the overlay, to Ray's ports behind Ray's token, and the hub
forgets it when the node ends. Ray's token is never in user data; it comes by SSH, through the tunnel.

The head's own pair is made on the head, and its private key never leaves it.
"""

from __future__ import annotations

import base64
import binascii
import shutil
import subprocess

from tradewind.errors import NotFoundError, SpecError

PROGRAM = "wg"


def new_private_key() -> str:
    """Raises NotFoundError when WireGuard's tools are not installed."""
    return _wg("genkey")


def public_key(private_key: str) -> str:
    """Raises SpecError when it is no key."""
    return _wg("pubkey", given=check_key(private_key))


def check_key(text: str) -> str:
    """The key itself: 32 bytes in base64. Raises SpecError, which does not repeat what it was given."""
    try:
        if len(base64.b64decode(text, validate=True)) == 32:
            return text
    except binascii.Error:
        pass
    raise SpecError("that is not a key of WireGuard", hint="`wg genkey` makes one")


def _wg(verb: str, given: str = "") -> str:
    program = shutil.which(PROGRAM)
    if program is None:
        raise NotFoundError("WireGuard's tools are not installed here", hint="apt-get install wireguard-tools")
    done = subprocess.run([program, verb], input=given, capture_output=True, text=True, check=True)  # noqa: S603
    return done.stdout.strip()
