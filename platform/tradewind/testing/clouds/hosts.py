"""Hosts on this machine: namespaces of processes, mounts and network with a real sshd, in place of rented machines.

A host has an address on the lab's network, a home, /tmp, /etc and /dev/shm of its own, and sees no process but its own;
what else it sees of the file system is this machine's, so Python and Ray are there without being installed. What would
install them, or would need systemd, are the small stand-ins in `programs`. Killed, a host is gone at once with all that
ran on it, as a machine is whose cloud takes it back. Needs root, iproute2, util-linux and openssh-server.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tradewind.errors import CapacityError, NotFoundError
from tradewind.testing.clouds.network import Network
from tradewind.testing.clouds.user_data import startup_script

PROGRAMS = {"ip": "iproute2", "unshare": "util-linux", "rsync": "rsync", "ssh-keygen": "openssh-client"}
SSHD = Path("/usr/sbin/sshd")
INIT = Path(__file__).with_name("host_init.sh")
BOOT_TIMEOUT_S = 20.0
POLL_S = 0.02
HOME = "/run/home"
COVERED = (Path("/tmp"), Path("/run"))  # noqa: S108
NAMESPACES = ("--mount", "--uts", "--ipc", "--pid", "--net")


@dataclass(frozen=True)
class Host:
    name: str
    address: str
    process: subprocess.Popen[bytes]
    pid: int
    """Of the host's first process, as this machine counts."""

    log: Path

    @property
    def is_alive(self) -> bool:
        return self.process.poll() is None

    def run(self, command: str, *, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a line of bash as the host's user does after logging in. It exits with 124 when it takes too long."""
        asked = self.inside("timeout", "--kill-after=5", f"{timeout_s:g}", "bash", "--login", "-c", command)
        # Into files, since processes that go on in the background would keep pipes open.
        with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as complained:
            done = subprocess.run(  # noqa: S603
                asked, stdin=subprocess.DEVNULL, stdout=said, stderr=complained, check=False
            )
            texts = [(file.seek(0), file.read())[1] for file in (said, complained)]
        return subprocess.CompletedProcess(command, done.returncode, *texts)

    def inside(self, *command: str) -> list[str]:
        """The command that runs another one on the host."""
        enter = ["nsenter", f"--target={self.pid}", *NAMESPACES, "--wd=/", "env", "-i", f"HOME={HOME}", "TERM=dumb"]
        return [*enter, *command]

    def path(self, inside: str) -> Path:
        """Where this machine sees a file of the host; relative ones are in the host's home."""
        return Path(f"/proc/{self.pid}/root") / os.path.join(HOME, inside).lstrip("/")  # noqa: PTH118

    def processes(self) -> list[str]:
        """The command lines of all that runs on the host."""
        return self.run("ps -eo args --no-headers").stdout.splitlines()


@dataclass
class Hosts:
    network: Network
    folder: Path
    visible: tuple[Path, ...] = ()
    """Paths below /tmp or /run that hosts must see nevertheless: the Python that they use, for instance."""

    environment: dict[str, str] = field(default_factory=dict)
    """What every host has in its environment; a `PATH` among them."""

    running: dict[str, Host] = field(default_factory=dict)
    """By address."""

    def boot(
        self,
        address: str,
        *,
        keys: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        user_data: str = "",
    ) -> Host:
        """Start a host; it answers SSH a moment later. It ends with the thread that booted it, if not before.

        `user_data` is carried out meanwhile. Raises CapacityError when the host does not start.
        """
        if address in self.running:
            raise CapacityError(f"{address} is taken", hint="kill the host that has it")
        name = f"ip-{address.replace('.', '-')}"
        made_of = self.folder / name
        made_of.mkdir(exist_ok=True)
        shutil.copy(self.folder / "host_key", made_of / "host_key")
        (made_of / "authorized_keys").write_text("".join(f"{key.strip()}\n" for key in keys))
        exported = {**self.environment, **(environment or {})}
        lines = (f"export {key}={shlex.quote(value)}\n" for key, value in exported.items())
        (made_of / "environment").write_text("".join(lines))
        (made_of / "startup").write_text(startup_script(user_data))
        host = self._start(name, address, made_of)
        self.running[address] = host
        return host

    def kill(self, address: str) -> None:
        """As a cloud takes a machine back: the kernel ends all its processes at once."""
        host = self.running.pop(address)
        if host.is_alive:  # so its number is still its own
            with suppress(ProcessLookupError):
                os.kill(host.pid, signal.SIGKILL)
        host.process.wait()  # for the host's first process, which the kernel ends after all others

    def make_key(self, path: Path) -> str:
        """Write a private key for SSH, and give its public half."""
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)  # noqa: S603, S607
        return path.with_name(f"{path.name}.pub").read_text()

    def _start(self, name: str, address: str, made_of: Path) -> Host:
        log = made_of / "log"
        covered = [str(path) for path in self.visible if any(path.is_relative_to(top) for top in COVERED)]
        command = ["setpriv", "--pdeathsig=KILL", "unshare", *NAMESPACES, "--fork", "--kill-child", "--mount-proc"]
        with log.open("ab") as said:
            process = subprocess.Popen(  # noqa: S603
                [*command, "bash", str(INIT), str(made_of), address, name, *covered],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        try:
            _wait_for(lambda: _children(process), process, log)
            host = Host(name, address, process, _children(process)[0], log)
            self.network.plug_in(host.pid, address)
            _wait_for(lambda: host.path("/run/up").exists(), process, log)
        except BaseException:
            process.kill()
            process.wait()
            raise
        return host


@contextmanager
def start_hosts(
    network: Network, *, visible: Sequence[Path] = (), environment: Mapping[str, str] | None = None
) -> Iterator[Hosts]:
    """No hosts yet, in a network; those that are booted end with the block.

    Raises NotFoundError when a program is missing.
    """
    missing = missing_programs()
    if missing:
        raise NotFoundError(f"hosts need {', '.join(missing)}", hint=f"apt-get install {' '.join(missing)}")
    with tempfile.TemporaryDirectory(prefix="tradewind-hosts-") as folder:
        hosts = Hosts(network, Path(folder), tuple(visible), dict(environment or {}))
        hosts.make_key(hosts.folder / "host_key")
        try:
            yield hosts
        finally:
            for address in list(hosts.running):
                hosts.kill(address)


def missing_programs() -> list[str]:
    """The packages of Debian that hosts need and that are not here."""
    missing = [package for program, package in PROGRAMS.items() if shutil.which(program) is None]
    return missing + ([] if SSHD.exists() else ["openssh-server"])


def _children(process: subprocess.Popen[bytes]) -> list[int]:
    return [int(child) for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def _wait_for(is_so: Callable[[], object], process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + BOOT_TIMEOUT_S
    while process.poll() is None and not is_so():
        if time.monotonic() > end:
            raise CapacityError(f"a host did not start within {BOOT_TIMEOUT_S:g} s", hint="try again")
        time.sleep(POLL_S)
    if process.poll() is not None:
        raise CapacityError(f"a host ended at once: {log.read_text()[-500:]}", hint="run host_init.sh by hand")
