"""A real S3 server on this machine for tests and benchmarks: Ceph RGW, with its objects in memory.

One monitor, one storage daemon and one gateway on free loopback ports, without authentication between them, with all
their files in one folder. Knows nothing of us: what it gives is an endpoint and a key. It needs three packages of the
system; `rgw_available()` says whether they are there.

What this server does otherwise than Amazon S3 (Ceph 16.2): a bucket's name needs three characters, `If-Match` is
compared with the unquoted entity tag and so always fails, `If-None-Match` is not checked when a multipart upload is
completed, and the only storage class is STANDARD.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path

from tradewind.errors import CapacityError, NotFoundError, StorageError

PROGRAMS = ("ceph-mon", "ceph-osd", "radosgw", "radosgw-admin", "monmaptool", "osdmaptool")
INSTALL = "apt-get install --no-install-recommends radosgw ceph-mon ceph-osd"
START_TIMEOUT_S = 60.0
LOG_TAIL_CHARS = 2000
POLL_S = 0.05
DIE_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL")
"""Linux then ends a daemon together with the thread that started it, so that a killed test leaves none behind."""

CONFIGURATION = """
[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:{mon_port}/0]
ms bind msgr1 = false
public addr = 127.0.0.1
cluster addr = 127.0.0.1
auth cluster required = none
auth service required = none
auth client required = none
# Without keys the gateway still prefers encrypted connections, and looks for a monitor forever.
ms mon client mode = crc
ms mon service mode = crc
ms mon cluster mode = crc
osd pool default size = 1
osd pool default min size = 1
mon allow pool size one = true
osd pool default pg num = 4
osd pool default pgp num = 4
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon max pg per osd = 1000
# Each of a dozen pools is a change that waits for others to join it, by default for a second.
paxos propose interval = 0.02
paxos min wait = 0.01
mon data avail warn = 1
mon data avail crit = 1
run dir = {folder}
crash dir = {folder}
keyring = {folder}/keyring
log file = {folder}/$name.log
mon cluster log file = {folder}/cluster.log
# A socket's path has at most 107 characters, and folders of tests are long.
admin socket =
# How soon a request that came before the storage daemon was up is sent again.
objecter tick interval = 0.1
[mon]
mon data = {folder}/mon
[osd]
osd data = {folder}/osd
osd objectstore = memstore
memstore device bytes = {memory_bytes}
osd max object size = 134217728
[client.rgw]
rgw data = {folder}/rgw
rgw frontends = beast endpoint=127.0.0.1:{port} tcp_nodelay=1
rgw thread pool size = 64
rgw get obj window size = 33554432
rgw enable usage log = false
rgw enable ops log = false
"""


@dataclass(frozen=True)
class Rgw:
    """A running server. It speaks S3 with path-style addresses in any region."""

    endpoint: str
    access_key: str
    secret_key: str

    def make_bucket(self, name: str) -> None:
        """Make a bucket; one that is already there is fine. Raises `StorageError` when the server refuses."""
        now = formatdate(usegmt=True)
        digest = hmac.new(self.secret_key.encode(), f"PUT\n\n\n{now}\n/{name}".encode(), hashlib.sha1).digest()
        signature = base64.b64encode(digest).decode()
        connection = http.client.HTTPConnection(self.endpoint.removeprefix("http://"), timeout=30)
        try:
            headers = {"Date": now, "Authorization": f"AWS {self.access_key}:{signature}"}
            connection.request("PUT", f"/{name}", headers=headers)
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
        finally:
            connection.close()
        if answer.status != http.client.OK:
            raise StorageError(f"the server did not make bucket {name!r}: {answer.status} {text}")


def rgw_available() -> bool:
    """Whether `start_rgw` finds its programs."""
    return not _missing()


@contextmanager
def start_rgw(folder: Path | None = None, *, memory_bytes: int = 4 << 30) -> Iterator[Rgw]:
    """A server while the block runs, with its files in `folder` or, without one, in a temporary folder.

    `folder` is emptied of an earlier server's files. Raises `NotFoundError` when the packages are missing, and
    `CapacityError` with the end of the log when a daemon ends or does not answer in time.
    """
    if missing := _missing():
        raise NotFoundError(f"no program {', '.join(missing)} on this machine", hint=INSTALL)
    with ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tradewind-rgw-")))
        yield _start(_Cluster(folder.absolute(), stack), memory_bytes)


def _missing() -> list[str]:
    return [program for program in PROGRAMS if shutil.which(program) is None]


def _start(cluster: _Cluster, memory_bytes: int) -> Rgw:
    """The whole start: a map with one storage daemon in it makes Ceph's slow command line unnecessary."""
    (mon_port, port), fsid = _free_ports(2), str(uuid.uuid4())
    cluster.write_configuration(fsid=fsid, mon_port=mon_port, port=port, memory_bytes=memory_bytes)
    monmap, osdmap = str(cluster.folder / "monmap"), str(cluster.folder / "osdmap")
    cluster.run("monmaptool", "--create", "--fsid", fsid, "--addv", "a", f"[v2:127.0.0.1:{mon_port}]", monmap)
    cluster.run("osdmaptool", "--createsimple", "1", osdmap)
    cluster.run("ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap, "--osdmap", osdmap)
    cluster.start("ceph-mon", "-i", "a", "-f")
    cluster.run("ceph-osd", "--mkfs", "-i", "0")
    cluster.start("ceph-osd", "-i", "0", "-f")
    server = Rgw(f"http://127.0.0.1:{port}", access_key="tradewind", secret_key=uuid.uuid4().hex)
    keys = ("--access-key", server.access_key, "--secret-key", server.secret_key)
    cluster.run("radosgw-admin", "-n", "client.rgw", "user", "create", "--uid", "t", "--display-name", "t", *keys)
    cluster.start("radosgw", "-n", "client.rgw", "-f")
    cluster.wait_for_port(port)
    return server


class _Cluster:
    """The daemons of one folder; the stack ends those that it started, and no others."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self._stack = stack
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        self._deadline = time.monotonic() + START_TIMEOUT_S
        self._prefix = DIE_WITH_PARENT if shutil.which(DIE_WITH_PARENT[0]) else ()

    def write_configuration(self, **values: str | int) -> None:
        for part in ("mon", "osd", "rgw"):
            shutil.rmtree(self.folder / part, ignore_errors=True)
            (self.folder / part).mkdir(parents=True)
        for old in (*self.folder.glob("*.log"), *self.folder.glob("*.out"), *self.folder.glob("*map")):
            old.unlink()
        (self.folder / "keyring").touch()
        text = CONFIGURATION.format(folder=self.folder, **values)
        (self.folder / "ceph.conf").write_text(text)

    def start(self, program: str, *arguments: str) -> None:
        process = self._spawn(program, arguments)
        self._daemons[program] = process
        self._stack.callback(_end, process)

    def run(self, program: str, *arguments: str) -> None:
        """Run a program to its end, unless a daemon that it may be waiting for ends before it."""
        process = self._spawn(program, arguments)
        try:
            while process.poll() is None:
                self._check_daemons(program)
                time.sleep(POLL_S)
        finally:
            _end(process)
        if process.returncode:
            raise CapacityError(f"{program} ended with {process.returncode}: {self._tail(program)}")

    def wait_for_port(self, port: int) -> None:
        while not _listens(port):
            self._check_daemons("radosgw")
            time.sleep(POLL_S)

    def _spawn(self, program: str, arguments: tuple[str, ...]) -> subprocess.Popen[bytes]:
        command = (*self._prefix, program, *arguments, "-c", str(self.folder / "ceph.conf"))
        with (self.folder / f"{program}.out").open("ab") as out:
            return subprocess.Popen(  # noqa: S603
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
            )

    def _check_daemons(self, awaited: str) -> None:
        for program, process in self._daemons.items():
            if process.poll() is not None:
                raise CapacityError(f"{program} ended with {process.returncode}: {self._tail(program)}")
        if time.monotonic() > self._deadline:
            tails = "\n".join(f"{name}: {self._tail(name)}" for name in {*self._daemons, awaited})
            raise CapacityError(f"{awaited} was not ready within {START_TIMEOUT_S:g} s\n{tails}")

    def _tail(self, program: str) -> str:
        """The end of what a program said: on its output, and in its log."""
        logs = {"ceph-mon": "mon.a.log", "ceph-osd": "osd.0.log"}
        files = [self.folder / f"{program}.out", self.folder / logs.get(program, "client.rgw.log")]
        texts = [file.read_text(errors="replace")[-LOG_TAIL_CHARS:] for file in files if file.exists()]
        return "\n".join(text.strip() for text in texts if text.strip()) or "it said nothing"


def _end(process: subprocess.Popen[bytes]) -> None:
    """At once: what they hold is in memory and not wanted any more, and a storage daemon would write it to disk."""
    process.kill()
    process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex(("127.0.0.1", port)) == 0


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]
