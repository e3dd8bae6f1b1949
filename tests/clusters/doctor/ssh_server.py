"""A real SSH server on a port of this machine, and how OpenSSH's client is led to it instead of to port 22."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import paramiko  # type: ignore[import-untyped]

RELAY = """
import os, socket, sys, threading
there = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
def back():
    while data := there.recv(65536):
        os.write(1, data)
    os._exit(0)
threading.Thread(target=back, daemon=True).start()
while data := os.read(0, 65536):
    there.sendall(data)
"""


class _Rules(paramiko.ServerInterface):  # type: ignore[misc]
    """Lets one key in, and answers every command with the same text."""

    def __init__(self, key: paramiko.PKey, answer: str) -> None:
        self.key, self.answer = key, answer

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        known = key == self.key and username == "ubuntu"
        return int(paramiko.common.AUTH_SUCCESSFUL if known else paramiko.common.AUTH_FAILED)

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return int(paramiko.common.OPEN_SUCCEEDED)

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        threading.Thread(target=self._say, args=(channel,), daemon=True).start()
        return True

    def _say(self, channel: paramiko.Channel) -> None:
        channel.sendall(self.answer.encode())
        channel.send_exit_status(0)
        channel.close()


@contextmanager
def ssh_server(folder: Path, answer: str) -> Iterator[tuple[str, Path]]:
    """A `ProxyCommand` that leads to the server, and the private key that it lets in."""
    own, user = paramiko.RSAKey.generate(2048), paramiko.RSAKey.generate(2048)
    key = folder / "key"
    user.write_private_key_file(str(key))
    key.chmod(0o600)
    relay = folder / "relay.py"
    relay.write_text(RELAY)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=_serve, args=(listening, own, user, answer), daemon=True)
        thread.start()
        yield f"{sys.executable} {relay} {listening.getsockname()[1]}", key


def _serve(listening: socket.socket, own: paramiko.PKey, user: paramiko.PKey, answer: str) -> None:
    kept = []
    while True:
        try:
            connection, _ = listening.accept()
        except OSError:
            return
        transport = paramiko.Transport(connection)
        transport.add_server_key(own)
        transport.start_server(server=_Rules(user, answer))
        kept.append(transport)
