"""The tasks that are measured, and how one is run: a new process, with a limit of time, its log kept."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from benchmarks.environments import python_for
from benchmarks.machine import load
from tradewind.testing.rgw import Rgw

ROOT = Path(__file__).parents[1]
SAVE_AFTER = 400
PREPARE_TIMEOUT_S = 900.0
MEMORY_BYTES = 8 << 30
"""Of each process. A peer that wants all of the machine's memory has failed, and does not take others with it."""

Outcome = dict[str, Any]
"""What a process measured, or `error`; always with `load`, the load average before it."""


@dataclass(frozen=True)
class Case:
    """A task of a peer. `fresh` begins with an empty cache; `extra` has a cache of its own."""

    name: str
    workers: int = 0
    fresh: bool = False
    save: bool = False
    resume: bool = False
    extra: bool = False


CASES = (
    Case("cold", fresh=True),
    Case("warm"),
    Case("save", save=True),
    Case("resume", resume=True),
    Case("cold_workers", workers=2, fresh=True),
    Case("warm_workers", workers=2),
)


@dataclass(frozen=True)
class Bench:
    """Where the work is done: the folder, the server, and how long a process may take."""

    work: Path
    server: Rgw
    timeout_s: float

    def prepare(self, peer: str) -> Outcome:
        """Write a peer's format to the server."""
        return self._run(peer, Case("prepare"), PREPARE_TIMEOUT_S)

    def run(self, peer: str, case: Case) -> Outcome:
        if case.fresh:
            shutil.rmtree(self._cache(peer, case), ignore_errors=True)
        os.sync()  # what the process before it wrote is not written to disk on this one's time
        return self._run(peer, case, self.timeout_s)

    def _cache(self, peer: str, case: Case) -> Path:
        kind = "extra" if case.extra else "workers" if case.workers else "single"
        return self.work / "cache" / f"{peer}-{kind}"

    def _run(self, peer: str, case: Case, timeout_s: float) -> Outcome:
        result, log = self._file("results", peer, case, "json"), self._file("logs", peer, case, "log")
        result.unlink(missing_ok=True)
        before = load()
        try:
            python = python_for(peer, self.work / "environments")
        except RuntimeError as exc:
            return {"load": before, "error": f"its environment could not be made: {exc}"}
        # -P, because peers have the names of the libraries that they import
        command = [str(python), "-P", "-m", f"benchmarks.peers.{peer}", *self._arguments(peer, case, result)]
        with log.open("wb") as out, TemporaryDirectory(prefix="tw-", ignore_cleanup_errors=True) as scratch:
            environment = {**self._environment(), "TMPDIR": scratch}
            process = subprocess.Popen(
                command, cwd=scratch, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )
            try:
                resource.prlimit(process.pid, resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
                code = process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                return {"load": before, "error": f"no end within {timeout_s:g} s"}
            finally:
                _end(process)
        if code or not result.exists():
            return {"load": before, "error": f"{_ending(code)}: {_last_line(log)}"}
        return {"load": before, **json.loads(result.read_text())}

    def _arguments(self, peer: str, case: Case, result: Path) -> list[str]:
        folders = {
            "work": self.work,
            "cache": self._cache(peer, case),
            "result": result,
            "saved": self.work / "results" / f"{peer}.state",
        }
        arguments = [case.name, *(word for name, path in folders.items() for word in (f"--{name}", str(path)))]
        if case.workers:
            arguments += ["--workers", str(case.workers)]
        if case.save:
            arguments += ["--save-after", str(SAVE_AFTER)]
        return [*arguments, "--resume"] if case.resume else arguments

    def _file(self, folder: str, peer: str, case: Case, ending: str) -> Path:
        (self.work / folder).mkdir(parents=True, exist_ok=True)
        return self.work / folder / f"{peer}-{case.name}.{ending}"

    def _environment(self) -> Mapping[str, str]:
        """This process's, without its own settings of AWS and with those of the server."""
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TRADEWIND_"))}
        server = {
            "AWS_ENDPOINT_URL": self.server.endpoint,
            "AWS_ACCESS_KEY_ID": self.server.access_key,
            "AWS_SECRET_ACCESS_KEY": self.server.secret_key,
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
            "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
        }
        quiet = {
            "DO_NOT_TRACK": "1",
            "HF_DATASETS_OFFLINE": "1",
            "HF_HOME": str(self.work / "huggingface"),
            "HF_HUB_OFFLINE": "1",
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        return {**ours, **server, **quiet, "PYTHONPATH": str(ROOT)}


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and what it has started."""
    if process.poll() is not None:
        return
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    for child in children:
        if child.is_running():
            child.kill()


def _ending(code: int) -> str:
    return f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip()[:300] if lines else "it said nothing"
