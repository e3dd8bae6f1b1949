"""This machine: leftovers of an earlier `ray up`, and its clock."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tradewind.clusters.doctor.answer import Answer, ok, problem, unknown
from tradewind.clusters.lint.part import Part
from tradewind.units import format_hours

FRESH_S = 3600.0
PROGRAMS = ("ssh", "rsync")
TIMEOUT_S = 5


def check_machine(part: Part | None) -> Iterator[Answer]:
    yield _programs()
    yield check_clock()
    if part is not None:
        yield check_cache(str(part.get("cluster_name") or "default"), Path(tempfile.gettempdir()))


def _programs() -> Answer:
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        return problem("programs", f"{', '.join(missing)}: not installed", f"install {', '.join(missing)}")
    return ok("programs", ", ".join(PROGRAMS))


def check_clock() -> Answer:
    """Clouds refuse requests from clocks that are minutes wrong."""
    if shutil.which("timedatectl") is None:
        return unknown("clock", "nothing here says whether it is right")
    try:
        words = ["timedatectl", "show", "--property=NTPSynchronized", "--value"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        return unknown("clock", f"timedatectl does not answer in {TIMEOUT_S} s")
    said = done.stdout.strip()
    if said == "no":
        return problem("clock", "not set by NTP", "sudo timedatectl set-ntp true")
    return ok("clock", "set by NTP") if said == "yes" else unknown("clock", "timedatectl cannot say")


def check_cache(cluster: str, folder: Path) -> Answer:
    """`ray up` takes subnets, security groups and keys from its last time, even if they are gone since."""
    ages = {path: time.time() - path.stat().st_mtime for path in folder.glob("ray-config-*") if _is_of(path, cluster)}
    old = {path: age_s for path, age_s in ages.items() if age_s > FRESH_S}
    if old:
        oldest = format_hours(max(old.values()) / 3600)
        said = f"{len(old)} of {oldest} ago: networks and keys of then are used"
        return problem("cached bootstrap", said, f"ray up --no-config-cache, or rm {' '.join(map(str, sorted(old)))}")
    return ok("cached bootstrap", f"{len(ages)}, less than an hour old" if ages else "none")


def _is_of(path: Path, cluster: str) -> bool:
    try:
        return bool(json.loads(path.read_text())["config"]["cluster_name"] == cluster)
    except (OSError, ValueError, KeyError, TypeError):
        return False
