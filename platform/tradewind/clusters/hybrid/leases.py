"""Own hosts over SSH: is one there, does the key open it, and whose is it.

A host that is taken holds a file with the name of the cluster, which the shell creates only if there is none: so two
clusters, or two heads of one, never share a host. What is run there is one command for each question.
"""

from __future__ import annotations

import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tradewind.errors import AuthError, CapacityError, CloudError

LEASE = "$HOME/.tradewind-cluster/lease"
CONNECT_TIMEOUT_S = 5
SSH_FAILED = 255
"""What ssh exits with when it is ssh that failed, and not the command: ssh(1), EXIT STATUS."""

TAKEN = 75
"""What our command exits with for a host of another cluster: EX_TEMPFAIL of sysexits.h."""

STOP_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Login:
    """How hosts are reached; a host's own name and key are not checked, as by Ray's own runner."""

    user: str | None
    private_key: str | None
    proxy_command: str | None
    timeout_s: float

    def take(self, host: str, cluster: str) -> None:
        """Take a host for a cluster. Raises CapacityError, AuthError or CloudError within the time-out."""
        code, said = self._run(host, _take_command(cluster), self.timeout_s)
        if code == TAKEN:
            raise CapacityError(
                f"host {host} belongs to cluster {said.strip() or 'of another name'!r}",
                hint=f"take it down with `ray down`; if it is gone, remove {LEASE} on the host",
            )
        self._check(host, code, said)

    def check(self, host: str) -> None:
        """Raises AuthError or CapacityError when nobody can log in."""
        self._check(host, *self._run(host, "true", self.timeout_s))

    def run(self, host: str, command: str) -> None:
        """Run a command on a host that was taken. Raises CloudError when it fails."""
        code, said = self._run(host, command, STOP_TIMEOUT_S)
        if code:
            raise CloudError(
                f"host {host} cannot join the overlay: exit code {code}: {_last_line(said)}",
                hint="it needs WireGuard's tools, nftables, and sudo without a password",
            )

    def give_back(self, host: str, cluster: str, stop_command: str) -> str:
        """Stop what runs on a host of this cluster. Gives what went wrong, and nothing for a host of another one."""
        code, said = self._run(host, _give_back_command(cluster, stop_command), STOP_TIMEOUT_S)
        return "" if code in (0, TAKEN) else f"exit code {code}: {_last_line(said)}"

    def _check(self, host: str, code: int, said: str) -> None:
        who = f"{self.user}@{host}" if self.user else host
        if code == SSH_FAILED and ("denied" in said.lower() or "no such identity" in said.lower()):
            raise AuthError(
                f"cannot log in to {who}: {_last_line(said)}",
                hint=f"check ssh_user, and that {self.private_key or 'the key of the SSH agent'} opens this host",
            )
        if code == SSH_FAILED:
            raise CapacityError(
                f"no SSH server answers at {who}: {_last_line(said)}", hint="check the address, and that the host is up"
            )
        if code:
            raise CloudError(f"host {who} cannot be taken: exit code {code}: {_last_line(said)}")

    def _run(self, host: str, command: str, timeout_s: float) -> tuple[int, str]:
        try:
            done = subprocess.run(  # noqa: S603 - the address comes from the owner's own file
                [*self._ssh(), "--", f"{self.user}@{host}" if self.user else host, command],
                stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout_s, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return SSH_FAILED, f"no answer within {timeout_s:g} s"
        return done.returncode, done.stdout if done.returncode == TAKEN else done.stderr

    def _ssh(self) -> list[str]:
        options = {
            "BatchMode": "yes",
            "ConnectTimeout": str(CONNECT_TIMEOUT_S),
            "StrictHostKeyChecking": "no",
            "UserKnownHostsFile": "/dev/null",
            "LogLevel": "ERROR",
        }
        if self.proxy_command:
            options["ProxyCommand"] = self.proxy_command
        words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        if self.private_key:
            words += ["-o", "IdentitiesOnly=yes", "-i", str(Path(self.private_key).expanduser())]
        return ["ssh", *words]


def _take_command(cluster: str) -> str:
    name = shlex.quote(cluster)
    return (
        f'mkdir -p "$(dirname {LEASE})"; (set -C; echo {name} > {LEASE}) 2>/dev/null;'
        f' [ "$(cat {LEASE})" = {name} ] || {{ cat {LEASE}; exit {TAKEN}; }}'
    )


def _give_back_command(cluster: str, stop_command: str) -> str:
    name = shlex.quote(cluster)
    stop = f"bash --login -c {shlex.quote(f'source ~/.bashrc; {stop_command}')}"
    return f'[ "$(cat {LEASE} 2>/dev/null)" = {name} ] || exit {TAKEN}; {stop}; code=$?; rm -f {LEASE}; exit $code'


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "nothing was said"
