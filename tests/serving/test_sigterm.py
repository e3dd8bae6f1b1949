"""A signal that comes while the main thread is in a call that knows no Python, as in a worker of Ray."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, os, signal, sys, threading, time
from tradewind.serving.sigterm import on_sigterm

signal.signal(signal.SIGTERM, lambda *_: os._exit(5))

def heard():
    print("heard", flush=True)
    os._exit(7)

begin = threading.Thread(target=on_sigterm, args=[heard])
begin.start()
begin.join()
{more}
print(os.getpid(), flush=True)
ctypes.CDLL(None).sem_wait(ctypes.create_string_buffer(64))
print("interrupted")
"""
FORK = """
child = os.fork()
if child == 0:
    while True:
        print(os.getpid(), flush=True)
        time.sleep(60)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.mark.parametrize("more", ["", FORK], ids=["alone", "after a child's"])
def test_sigterm_is_heard_while_the_main_thread_runs_no_python(more: str) -> None:
    command = [sys.executable, "-c", PROGRAM.format(more=more)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        if more:
            os.kill(int(process.stdout.readline()), signal.SIGTERM)
            assert process.stdout.readline() == "5\n"  # the child's own handler
        os.kill(int(process.stdout.readline()), signal.SIGTERM)
        assert process.stdout.read() == "heard\n"
        assert process.wait(20) == 7
