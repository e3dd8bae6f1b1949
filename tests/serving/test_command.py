"""`tw serve` as a process, told to end while it answers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

import tradewind as tw
from tests.conftest import free_port
from tradewind.registry import Models

pytestmark = pytest.mark.slow


def test_stream_that_has_begun_ends_whole_after_sigterm(tmp_path: Path) -> None:
    place = tw.Workspace(str(tmp_path / "workspace"))
    files: dict[str, bytes | Path] = {"config.json": b"{}"}
    Models(place.store).add(
        "pilot", files, parents=(), family="x", parameters=1, context=64, heldout_loss=None, card={}
    )
    port, file = free_port(), tmp_path / "serve.yaml"
    file.write_text(
        f"kind: serve\nname: chat\nmodel: pilot\nengine: echo\nengine_settings: {{each_s: 0.05}}\nport: {port}\n"
    )
    command = [sys.executable, "-m", "tradewind", "serve", str(file), "-w", place.url]
    body = {"model": "pilot", "prompt": "the quay", "max_tokens": 60, "stream": True}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"RAY_ADDRESS": ""}) as process:
        assert process.stdout is not None
        assert "answers at" in process.stdout.readline()
        with httpx.stream("POST", f"http://127.0.0.1:{port}/v1/completions", json=body, timeout=60) as answer:
            lines = answer.iter_lines()
            next(lines)
            process.send_signal(signal.SIGTERM)
            assert [line for line in lines if line][-1] == "data: [DONE]"
        assert process.wait(60) == 0
    assert not place.endpoints.get("chat").is_up
    assert sum(row.tokens_out for row in place.usage()) == 60
