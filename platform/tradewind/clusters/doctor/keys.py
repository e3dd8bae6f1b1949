"""Ray's token and the private key: that they are there, whole, and nobody else's to read."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from tradewind.clusters.doctor.answer import Answer, ok, problem
from tradewind.clusters.lint.part import Part

TOKEN = "~/.ray/auth_token"  # noqa: S105 - where it is, not what it is
SHORTEST = 32


def check_keys(part: Part | None) -> Iterator[Answer]:
    yield check_token(Path(TOKEN).expanduser())
    if part is None:
        return
    named = [part.get("auth", "ssh_private_key"), *(one.get("ssh_private_key") for one in part.backends.values())]
    for key in dict.fromkeys(str(one) for one in named if one):
        yield check_key(Path(key).expanduser())


def check_token(path: Path) -> Answer:
    make = "ray get-auth-token --generate"
    if not path.is_file():
        return problem("token", f"{path} is not there", make)
    if len(path.read_text(encoding="utf-8", errors="replace").strip()) < SHORTEST:
        return problem("token", f"{path} is too short to be one", f"remove it; {make}")
    return _private("token", path)


def check_key(path: Path) -> Answer:
    if not path.is_file():
        return problem("ssh key", f"{path} is not there", "correct ssh_private_key in the file")
    first = path.read_bytes()[:64]
    if b"PRIVATE KEY" not in first:
        return problem("ssh key", f"{path} is no private key", "name the file without .pub")
    return _private("ssh key", path)


def _private(what: str, path: Path) -> Answer:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        return problem(what, f"{path} can be read by others ({mode:03o})", f"chmod 600 {path}")
    return ok(what, str(path))
