"""Machines of one's own: that they answer, let us in, agree on the time, and run nothing on Ray's ports.

In seconds: `ray up` tries for 15 minutes, and says nothing.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tradewind.clusters.doctor.answer import Answer, ok, problem
from tradewind.clusters.lint.part import Part

TIMEOUT_S = 5
MOST_SKEW_S = 60
AT_ONCE = 16
PORTS = (6379, 8265, 10002, 10007)


@dataclass(frozen=True)
class Host:
    address: str
    user: str
    key: str
    is_head: bool
    proxy: str = ""


def check_hosts(part: Part) -> Iterator[Answer]:
    """Each host by itself, many at once."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield from pool.map(check_host, hosts_of(part))


def hosts_of(part: Part) -> list[Host]:
    """Of static backends, and of Ray's own provider for such hosts."""
    auth = part.get("auth") or {}
    key, user = str(auth.get("ssh_private_key") or ""), str(auth.get("ssh_user") or "")
    proxy = str(auth.get("ssh_proxy_command") or "")
    found = []
    for backend in part.backends.values():
        if backend.get("type") == "static":
            head = str(backend.get("head") or "")
            own = str(backend.get("ssh_private_key") or key), str(backend.get("ssh_user") or user)
            addresses = dict.fromkeys(map(str, [*([head] if head else []), *(backend.get("hosts") or [])]))
            found += [Host(one, own[1], own[0], one == head, proxy) for one in addresses]
    if part.provider == "local":
        head = str(part.get("provider", "head_ip") or "")
        addresses = dict.fromkeys(map(str, [head, *(part.get("provider", "worker_ips") or [])]))
        found += [Host(one, user, key, one == head, proxy) for one in addresses if one]
    return found


def check_host(host: Host) -> Answer:
    what = f"host {host.address}"
    before = time.time()
    try:
        done = subprocess.run(  # noqa: S603 - the address is from the owner's own file
            _ssh(host), capture_output=True, text=True, timeout=2 * TIMEOUT_S, stdin=subprocess.DEVNULL, check=False
        )
    except FileNotFoundError:
        return problem(what, "the program ssh is not installed", "install an SSH client")
    except subprocess.TimeoutExpired:
        return problem(what, f"no answer to a login within {2 * TIMEOUT_S} s", "check the host, and what is between")
    if done.returncode:
        return _refused(what, host, done.stderr)
    return _inside(what, host, done.stdout, (before + time.time()) / 2)


def _ssh(host: Host) -> list[str]:
    options = {
        "BatchMode": "yes",
        "ConnectTimeout": str(TIMEOUT_S),
        "ConnectionAttempts": "1",
        "StrictHostKeyChecking": "no",
        "UserKnownHostsFile": "/dev/null",
        "LogLevel": "ERROR",
        **({"IdentitiesOnly": "yes"} if host.key else {}),
        **({"ProxyCommand": host.proxy} if host.proxy else {}),
    }
    key = ["-i", str(Path(host.key).expanduser())] if host.key else []
    named = f"{host.user}@{host.address}" if host.user else host.address
    flags = [word for option, value in options.items() for word in ("-o", f"{option}={value}")]
    listening = "(ss -ltnH 2>/dev/null || true) | tr -s ' ' | cut -d ' ' -f 4"
    return ["ssh", *flags, *key, "--", named, f"date +%s; {listening}"]


def _refused(what: str, host: Host, said: str) -> Answer:
    last = (said.strip().splitlines() or ["no reason given"])[-1][:160]
    if "denied" in last.lower():
        key = host.key or "any key of the SSH agent"
        fix = f"check ssh_user {host.user!r} and ssh_private_key, or: ssh-copy-id -i {key} {host.user}@{host.address}"
        return problem(what, f"login as {host.user!r} with {key} is refused", fix)
    return problem(what, f"no SSH server answers: {last}", "check the address, and that the host is up")


def _inside(what: str, host: Host, said: str, now: float) -> Answer:
    first, *rest = said.splitlines() or [""]
    if not first.isdigit():
        return problem(what, f"a command answers with {first!r}", "let the login shell print nothing")
    skew_s = abs(float(first) - now)
    if skew_s > MOST_SKEW_S:
        return problem(what, f"its clock is {skew_s:.0f} s from this one's", "set both by NTP")
    taken = sorted({port for port in PORTS if any(line.endswith(f":{port}") for line in rest)})
    if taken and host.is_head:
        return problem(
            what, f"ports {', '.join(map(str, taken))} are in use there", "stop the Ray or program that has them"
        )
    return ok(what, f"login works, clock within {max(1, round(skew_s))} s")
