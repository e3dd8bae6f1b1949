"""The command line as a process of its own: what only shows there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tradewind.workspace import Workspace


def tw(*words: object) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TRADEWIND_WORKSPACE")}
    command = [sys.executable, "-m", "tradewind", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom tradewind.cli import main\nsys.argv = ['tw', '--help']\n"
        "try:\n    main()\nfinally:\n    heavy = {'ray', 'torch', 'transformers', 'pyarrow', 'numpy', 'fastapi'}\n"
        "    print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (answer.returncode, answer.stderr) == (0, "[]\n")


@pytest.mark.slow
def test_traceback_is_shown_with_debug_and_only_then(own: Path) -> None:
    place = Workspace(str(own))
    place.store.delete(place.datasets.get("pystdlib").tokenizer_file.key)
    plain = tw("datasets", "verify", "pystdlib", "-w", own)
    assert plain.returncode == 1
    assert "Traceback" not in plain.stderr
    assert plain.stderr.startswith("error: dataset pystdlib@1 has lost its file ")
    loud = tw("datasets", "verify", "pystdlib", "-w", own, "--debug")
    assert loud.returncode == 1
    assert "Traceback (most recent call last)" in loud.stderr
    assert "tradewind.errors.IntegrityError" in loud.stderr


@pytest.mark.slow
def test_usage_of_the_module_names_the_program(empty: Path) -> None:
    answer = tw("usage", "--sicne", "1d")
    assert answer.returncode == 2
    assert "No such option" in answer.stderr
    assert "Traceback" not in answer.stderr
