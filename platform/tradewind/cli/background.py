"""Endpoints that outlive the command that starts them: the same command again, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tradewind import progress
from tradewind.errors import NotFoundError, RunError
from tradewind.specs import ServeSpec

if TYPE_CHECKING:
    from tradewind.serving import Endpoint
    from tradewind.workspace import Workspace

READY_TIMEOUT_S = 180.0


def start(workspace: Workspace, spec: ServeSpec) -> Endpoint:
    """Start an endpoint in the background and return once it answers. Raises RunError with what its log says last."""
    folder = _state_folder()
    wish, log = folder / f"{spec.name}.yaml", folder / f"{spec.name}.log"
    wish.write_text(spec.to_yaml(), encoding="utf-8")
    command = [sys.executable, "-m", "tradewind", "serve", str(wish), "--workspace", workspace.url]
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    with progress.track("start endpoint"):
        try:
            return _wait(workspace, spec.name, process, log)
        except BaseException:
            process.terminate()
            process.wait(READY_TIMEOUT_S)
            raise


def _wait(workspace: Workspace, name: str, process: subprocess.Popen[bytes], log: Path) -> Endpoint:
    deadline = time.monotonic() + READY_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RunError(_last_error(log), hint=f"see {log}")
        try:
            endpoint = workspace.endpoints.get(name)
        except NotFoundError:
            endpoint = None
        holder = endpoint.record.process if endpoint else None
        if endpoint and endpoint.is_up and holder and holder.pid == process.pid:
            return endpoint
        time.sleep(0.3)
    raise RunError(f"endpoint {name!r} did not answer within {READY_TIMEOUT_S:.0f} s", hint=f"see {log}")


def _last_error(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return (errors or lines or ["it wrote nothing"])[-1]


def _state_folder() -> Path:
    home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    folder = home / "tradewind" / "endpoints"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
