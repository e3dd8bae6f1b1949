"""The Ray that work runs on: the one that is there, or one of our own on this machine that ends with us.

A cluster is used when the program is connected to one already, or when RAY_ADDRESS names one (as inside
`ray job submit`). Otherwise Ray starts here, with a folder and ports of its own, beside whatever other Ray may run, and
its processes and its folder go when the session closes. Its ports want the user's Ray token (`~/.ray/auth_token`, which
Ray makes at the first start), so that nobody else on the network can run code here.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tradewind import progress
from tradewind.clusters.machine import usable_cpus
from tradewind.errors import CapacityError

PREFIX = "tw-ray-"
PACKAGE = Path(__file__).parents[1]
OBJECT_STORE_BYTES = 256 * 1024**2
PRELOAD = "RAY_preload_python_modules"
SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",  # the default of 2 s is time lost after each lost worker
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


@dataclass
class RaySession:
    """A connection to Ray. `folder` is set where the Ray is our own; it ends when its last user closes the session."""

    folder: Path | None = None
    processes: list[Any] = field(default_factory=list)
    users: int = 1

    @property
    def is_own(self) -> bool:
        return self.folder is not None

    def cpus_per_worker(self, workers: int) -> int:
        """Processors for each of some workers: a fair share of a Ray of our own, one each on a cluster."""
        return max(1, usable_cpus() // workers) if self.is_own else 1

    def check_room(self, workers: int) -> None:
        """Raises CapacityError when a Ray of our own, which does not grow, has too few processors for some workers."""
        import ray

        room = int(ray.cluster_resources().get("CPU", 0))  # type: ignore[no-untyped-call]
        if self.is_own and workers > room:
            raise CapacityError(
                f"{workers} workers do not fit into the Ray that runs, which was started for {room}",
                hint="close the workspace first, or take fewer workers",
            )

    def check_machines(self, count: int) -> None:
        """Raises CapacityError when fewer machines than that are in this Ray."""
        import ray

        there = sum(node["Alive"] for node in ray.nodes())  # type: ignore[no-untyped-call]
        if there < count:
            raise CapacityError(
                f"the plan is for {count} machines, and {there} are in this Ray",
                hint="start a Ray cluster with as many, and set RAY_ADDRESS",
            )

    def close(self) -> None:
        """Leave Ray. The last user of a Ray of our own ends its processes and removes its folder."""
        self.users -= 1
        if self.folder is None or self.users > 0:
            return
        import ray

        with _unhurried():
            ray.shutdown()
            _end(self.processes)
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder = None


_own: RaySession | None = None


def connect(*, workers: int = 1, preload: str = "") -> RaySession:
    """Connect to Ray, starting one here when there is none. `workers` is how many processes it must be able to hold.

    Those of one that starts here import the module `preload` before there is work for them.
    Raises CapacityError when Ray cannot start or be reached, or when the Ray of our own that runs is too small.
    """
    global _own
    import ray

    if ray.is_initialized():
        return _shared(_own, workers) if _own and _own.is_own else RaySession()
    if address := os.environ.get("RAY_ADDRESS"):
        try:
            ray.init(runtime_env={"py_modules": [str(PACKAGE)]}, logging_level=logging.WARNING)
        except ConnectionError as exc:
            raise CapacityError(f"no Ray answers at {address}", hint="check or unset RAY_ADDRESS") from exc
        return RaySession()
    _own = _start(workers, preload)
    return _own


def is_local() -> bool:
    """Whether work that starts now would run on a Ray of our own, on this machine."""
    ray = sys.modules.get("ray")
    connected = ray is not None and ray.is_initialized()
    return bool(_own and _own.is_own) if connected else not os.environ.get("RAY_ADDRESS")


def _shared(session: RaySession, workers: int) -> RaySession:
    session.check_room(workers)
    session.users += 1
    return session


def _start(workers: int, preload: str) -> RaySession:
    import ray

    os.environ.update({key: value for key, value in SETTINGS.items() if key not in os.environ})
    _sweep()
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=_short_folder()))
    session = RaySession(folder, [])
    before = {process.pid for process in _children()}
    with progress.track("start Ray"), _preloading(preload), _own_sigterm(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            ray.init(
                address="local",
                num_cpus=max(workers, usable_cpus()),
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                object_store_memory=OBJECT_STORE_BYTES,
                namespace="tradewind",
                _temp_dir=str(folder),
            )
        except BaseException as exc:
            session.processes = [process for process in _children() if process.pid not in before]
            session.close()
            if isinstance(exc, Exception):
                first = next(iter(str(exc).strip().splitlines()), type(exc).__name__)
                hint = f"is there room in {folder.parent}, and memory? --debug shows more"
                raise CapacityError(f"Ray cannot start here: {first}", hint=hint) from exc
            raise
    session.processes = [process for process in _children() if process.pid not in before]
    return session


@contextmanager
def _preloading(module: str) -> Iterator[None]:
    """Ray reads it where it starts, and what the user has set stays."""
    if not module or PRELOAD in os.environ:
        yield
        return
    os.environ[PRELOAD] = module
    try:
        yield
    finally:
        del os.environ[PRELOAD]


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Keep the program's answer to a request to end; Ray would put its own in the place."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)


def _short_folder() -> str:
    """Ray makes sockets in its folder, and a socket's path has at most 107 bytes."""
    chosen = tempfile.gettempdir()
    return chosen if len(chosen) <= 30 else "/tmp"  # noqa: S108


def _children() -> list[Any]:
    import psutil

    return list(psutil.Process().children(recursive=True))


def _end(processes: list[Any]) -> None:
    """Wait for processes to go, together with what they started, and kill those that stay."""
    import psutil

    everyone = {process.pid: process for process in processes}
    for process in processes:
        try:
            everyone.update({child.pid: child for child in process.children(recursive=True)})
        except psutil.NoSuchProcess:
            continue
    _, alive = psutil.wait_procs(list(everyone.values()), timeout=5)
    for process in alive:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(alive, timeout=5)


def _sweep() -> None:
    """Remove the folders that killed sessions have left behind."""
    import psutil

    for folder in Path(_short_folder()).glob(f"{PREFIX}*"):
        pid = folder.name.removeprefix(PREFIX).partition("-")[0]
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _unhurried() -> Iterator[None]:
    """Let no second Ctrl-C cut the clean-up short."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
