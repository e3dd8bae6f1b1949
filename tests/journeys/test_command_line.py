"""The command line on real parts: a workspace on S3, and an endpoint that outlives its command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import free_port
from tests.journeys.conftest import Journey, small_dataset, small_run

pytestmark = pytest.mark.slow


def test_datasets_runs_and_models_live_on_s3_alike(moto_s3: str, tmp_path: Path) -> None:
    dataset, run = tmp_path / "dataset.yaml", tmp_path / "run.yaml"
    dataset.write_text(small_dataset("ashore").to_yaml())
    run.write_text(small_run("ashore@1", name="ashore", max_steps=10).to_yaml())
    workspace = f"{moto_s3}/team"
    tw("datasets", "add", str(dataset), "-w", workspace)
    trained = json.loads(tw("train", str(run), "-w", workspace, "--json"))
    assert trained["end"]["status"] == "finished"
    model = json.loads(tw("models", "register", trained["run"], "--name", "ashore", "-w", workspace, "--json"))
    tw("models", "export", "ashore@1", str(tmp_path / "model"), "-w", workspace)
    assert {path.name for path in (tmp_path / "model").iterdir()} == set(model["files"])
    report = json.loads(tw("runs", "report", "last", "-o", str(tmp_path / "r.html"), "-w", workspace, "--json"))
    assert report["url"].startswith(moto_s3)
    assert "ashore@1" in (tmp_path / "r.html").read_text()


def test_a_detached_endpoint_answers_until_it_is_stopped(journey: Journey, tmp_path: Path) -> None:
    spec, port = tmp_path / "kept.yaml", free_port()
    spec.write_text(f"kind: serve\nname: kept\nmodel: shelf@prod\nport: {port}\n")
    workspace = journey.workspace.url
    record = json.loads(tw("serve", str(spec), "--detach", "-w", workspace, "--json"))
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models") as answer:
            assert json.load(answer)["data"][0]["id"] == "shelf@1"
        taken = tw("serve", str(spec), "-w", workspace, code=2)
        assert "endpoint 'kept' is up already" in taken
        refused = tw("endpoints", "stop", "kept", "-w", workspace, code=2)
        assert "--yes" in refused
        with complete(port) as answer:
            assert json.load(answer)["usage"]["completion_tokens"] == 4
        psutil.Process(record["process"]["pid"]).terminate()  # at once: what was served last must not be lost
        _wait_until_gone(record["process"]["pid"])
        assert "is not up" in tw("endpoints", "stop", "kept", "-w", workspace, "--yes", code=2)
        rows = json.loads(tw("usage", "-w", workspace, "--json"))
        assert sum(row["tokens_out"] for row in rows if row["subject"] == "endpoint:kept") == 4
        states = {one["name"]: one["status"] for one in json.loads(tw("endpoints", "list", "-w", workspace, "--json"))}
        assert states["kept"] == "down"
        assert not _mentions(f"tw-ray-{record['process']['pid']}-")
    finally:
        if psutil.pid_exists(record["process"]["pid"]):
            psutil.Process(record["process"]["pid"]).terminate()


def complete(port: int) -> Any:
    body = {"model": "shelf", "prompt": "import", "max_tokens": 4, "temperature": 0}
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    return urllib.request.urlopen(request)


def tw(*arguments: str, code: int = 0) -> str:
    """Run a command and give what it printed; where it has to fail, what it said."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, "-m", "tradewind", *arguments],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=240,
        check=False,
        env=environment,
    )
    # Seen now and then: a thread of a C++ library aborts the interpreter at its exit, when everything has been said.
    ended = code if done.returncode == -signal.SIGABRT and "terminate called" in done.stderr else done.returncode
    assert ended == code, f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stderr if code else done.stdout


def _wait_until_gone(pid: int) -> None:
    end = time.monotonic() + 60
    while psutil.pid_exists(pid):
        assert time.monotonic() < end
        time.sleep(0.1)


def _mentions(text: str) -> list[str]:
    """The command lines that hold a text, half a second later."""
    time.sleep(0.5)
    found = []
    for process in psutil.process_iter():
        try:
            found.append(" ".join(process.cmdline()))
        except psutil.NoSuchProcess:
            continue
    return [words for words in found if text in words]
