"""Servers of others that speak for a cloud on this machine: moto for Amazon S3, Azurite for Azure Blob Storage.

Each runs in a process of its own on a free port, keeps what it holds in a temporary folder or in memory, and ends with
the block that started it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import importlib.util
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from urllib.parse import urlsplit

from tradewind.errors import NotFoundError, StorageError

START_TIMEOUT_S = 60.0
POLL_S = 0.05
AZURITE = "azurite@3"
AZURE_API = "2021-12-02"


@dataclass(frozen=True)
class Moto:
    """Takes any credentials, in any region."""

    endpoint: str

    def make_bucket(self, name: str) -> None:
        _ask("PUT", f"{self.endpoint}/{name}", {})


@dataclass(frozen=True)
class Azurite:
    """Unlike Azure, it does not delete for a shared access signature, and knows no `startFrom` in listings."""

    endpoint: str
    """With the account as its path, as `AZURE_STORAGE_ENDPOINT` wants it."""

    account: str
    key: str = field(repr=False)

    @property
    def environment(self) -> dict[str, str]:
        """The variables that lead `az://` URLs here."""
        return {
            "AZURE_STORAGE_ACCOUNT_NAME": self.account,
            "AZURE_STORAGE_ACCOUNT_KEY": self.key,
            "AZURE_STORAGE_ENDPOINT": self.endpoint,
        }

    def make_container(self, name: str) -> None:
        """Make a container; one that is already there is fine. Raises StorageError when the server refuses."""
        headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": AZURE_API}
        named = "".join(f"{header}:{value}\n" for header, value in sorted(headers.items()))
        resource = f"/{self.account}{urlsplit(self.endpoint).path}/{name}\nrestype:container"
        text = f"PUT\n\n\n\n\n\n\n\n\n\n\n\n{named}{resource}"
        digest = hmac.new(base64.b64decode(self.key), text.encode(), hashlib.sha256).digest()
        headers["Authorization"] = f"SharedKey {self.account}:{base64.b64encode(digest).decode()}"
        _ask("PUT", f"{self.endpoint}/{name}?restype=container", headers, also=http.client.CONFLICT)


def moto_available() -> bool:
    return importlib.util.find_spec("moto") is not None and importlib.util.find_spec("flask") is not None


@contextmanager
def start_moto() -> Iterator[Moto]:
    """Raises NotFoundError without moto, StorageError when it does not start."""
    if not moto_available():
        raise NotFoundError("moto is not installed", hint="pip install 'moto[s3,server]'")
    port = free_port()
    with running([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], port):
        yield Moto(f"http://127.0.0.1:{port}")


def azurite_available() -> bool:
    return _azurite() is not None


def azurite_folder() -> Path:
    """Where `install_azurite` puts it."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tradewind" / "servers" / "azurite"


def azurite_hint() -> str:
    return f"npm install --prefix {azurite_folder()} {AZURITE}"


def install_azurite() -> None:
    """Fetch Azurite with npm into the user's cache. Raises NotFoundError without npm, StorageError when npm fails."""
    npm = shutil.which("npm")
    if npm is None:
        raise NotFoundError("there is no npm on this machine", hint="install Node.js")
    folder = azurite_folder()
    folder.mkdir(parents=True, exist_ok=True)
    command = [npm, "install", "--no-audit", "--no-fund", "--prefix", str(folder), AZURITE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise StorageError(f"npm ended with {done.returncode}: {done.stderr[-300:]}", hint="try again")


@contextmanager
def start_azurite() -> Iterator[Azurite]:
    """With an account of its own and a new key. Raises NotFoundError without Azurite, StorageError when it fails."""
    program = _azurite()
    if program is None:
        raise NotFoundError("Azurite is not installed", hint=azurite_hint())
    port, account, key = free_port(), "tradewind", base64.b64encode(secrets.token_bytes(48)).decode()
    with tempfile.TemporaryDirectory(prefix="tradewind-azurite-") as folder:
        command = [program, "--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", folder]
        command += ["--silent", "--loose", "--skipApiVersionCheck", "--disableTelemetry"]
        with running(command, port, {"AZURITE_ACCOUNTS": f"{account}:{key}"}):
            yield Azurite(f"http://127.0.0.1:{port}/{account}", account, key)


def free_port() -> int:
    """A port of the loopback on which nothing listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _azurite() -> str | None:
    own = azurite_folder() / "node_modules" / ".bin" / "azurite-blob"
    return shutil.which("azurite-blob") or (str(own) if own.exists() and shutil.which("node") else None)


@contextmanager
def running(
    command: Sequence[str], port: int, environment: Mapping[str, str] | None = None, *, address: str = "127.0.0.1"
) -> Iterator[None]:
    """A server in a process of its own, from when it listens there until the block ends.

    Raises StorageError when it does not start.
    """
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(  # noqa: S603
            command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env={**os.environ, **(environment or {})}
        )
        try:
            _wait(process, port, Path(command[0]).name, address)
            yield
        finally:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], port: int, name: str, address: str) -> None:
    end = time.monotonic() + START_TIMEOUT_S
    while not _listens(port, address):
        if process.poll() is not None:
            raise StorageError(f"{name} ended with exit code {process.returncode}", hint="run it by hand to see why")
        if time.monotonic() > end:
            raise StorageError(f"{name} did not listen within {START_TIMEOUT_S:g} s", hint="try again")
        time.sleep(POLL_S)


def _listens(port: int, address: str = "127.0.0.1") -> bool:
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex((address, port)) == 0


def _ask(method: str, url: str, headers: Mapping[str, str], *, also: int = http.client.OK) -> None:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    try:
        connection.request(method, f"{parts.path}?{parts.query}", headers={"Content-Length": "0", **headers})
        answer = connection.getresponse()
        text = answer.read(300).decode(errors="replace")
    finally:
        connection.close()
    if answer.status not in (http.client.OK, http.client.CREATED, also):
        raise StorageError(f"{method} {parts.path} was answered with {answer.status}: {text}", hint="try again")
