from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

from tradewind.clusters import is_gone, is_here, stop, this_process
from tradewind.records import ProcessName

SLEEP = "import time; print('ready', flush=True); time.sleep(60)"
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEP}"


@pytest.fixture(params=[SLEEP])
def child(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", request.param]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def named(process: subprocess.Popen[str], *, later_s: float = 0.0) -> ProcessName:
    started = psutil.Process(process.pid).create_time() + later_s
    return ProcessName(host=socket.gethostname(), pid=process.pid, started=started)


def test_this_process_is_here_and_runs() -> None:
    name = this_process()
    assert (name.pid, name.host) == (os.getpid(), socket.gethostname())
    assert abs(time.time() - name.started) < 24 * 3600
    assert is_here(name)
    assert not is_gone(name)
    assert this_process() == name


def test_sleeping_process_is_ended(child: subprocess.Popen[str]) -> None:
    name = named(child)
    assert not is_gone(name)
    assert stop(name, timeout_s=10)
    assert is_gone(name)
    assert not stop(name, timeout_s=10)


@pytest.mark.parametrize("child", [DEAF], indirect=True)
def test_process_that_does_not_listen_is_killed(child: subprocess.Popen[str]) -> None:
    name = named(child)
    assert stop(name, timeout_s=0.1)
    assert is_gone(name)


@pytest.mark.parametrize("later_s", [-3600.0, 3600.0])
def test_process_that_has_the_pid_of_an_earlier_one_is_left_alone(child: subprocess.Popen[str], later_s: float) -> None:
    earlier = named(child, later_s=later_s)
    assert is_gone(earlier)
    assert not stop(earlier, timeout_s=1)
    assert child.poll() is None


def test_process_that_ended_and_was_not_waited_for_is_gone(child: subprocess.Popen[str]) -> None:
    name = named(child)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert psutil.pid_exists(child.pid)
    assert is_gone(name)
    assert not stop(name, timeout_s=1)


def test_process_of_another_machine_is_never_touched(child: subprocess.Popen[str]) -> None:
    other = named(child).model_copy(update={"host": "elsewhere"})
    assert not is_here(other)
    assert not is_gone(other)
    assert not stop(other, timeout_s=1)
    assert child.poll() is None
