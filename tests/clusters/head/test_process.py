from __future__ import annotations

import os
import sys
from pathlib import Path

import psutil

from tradewind.clusters.head.process import Started


def test_process_is_started_again_with_its_words_and_variables(tmp_path: Path) -> None:
    program = "import os, sys; print(sys.argv[1:], os.environ['TIDE'], file=open(sys.argv[1], 'w'))"
    said = tmp_path / "said"
    started = Started("tide", (sys.executable, "-c", program, str(said), "two words"), {**os.environ, "TIDE": "high"})
    os.waitpid(started.again(), 0)
    assert said.read_text() == f"['{said}', 'two words'] high\n"


def test_process_is_known_by_what_it_was_started_with() -> None:
    me = Started.of(psutil.Process())
    assert list(me.argv) == psutil.Process().cmdline()
    assert me.environment["PATH"] == psutil.Process().environ()["PATH"]
