from __future__ import annotations

import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator

import pytest

from tests.serving.front.servers import Server, running_server, wait_until


@pytest.fixture
def address(server: Server) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    command = [sys.executable, "-m", "tradewind.serving.front", "--port", "0", "--replica", server.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip(), process
        finally:
            process.kill()


def test_front_without_ray_finds_its_replicas_and_ends_on_sigterm(
    address: tuple[str, subprocess.Popen[str]], server: Server
) -> None:
    url, process = address
    with urllib.request.urlopen(f"{url}/echo", timeout=20) as answer:
        assert answer.status == 200
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == 0


def test_replica_that_comes_back_is_found_again() -> None:
    command = [sys.executable, "-m", "tradewind.serving.front", "--port", "0", "--first-answer-s", "20"]
    with running_server() as first:
        port = first.port
        with subprocess.Popen(
            [*command, "--replica", first.url], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as process:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            with urllib.request.urlopen(f"{url}/echo", timeout=20) as answer:
                assert answer.status == 200
            first.kill()
            with running_server(port), urllib.request.urlopen(f"{url}/echo", timeout=20) as answer:
                assert answer.status == 200
            process.kill()
    wait_until(lambda: process.returncode is not None)
