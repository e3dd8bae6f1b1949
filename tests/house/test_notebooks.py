"""The notebooks run from top to bottom, and are kept in git without what they printed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "docs").glob("**/*.ipynb"))
CELL_TIMEOUT_S = 120

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])

EXECUTE = f"""
import sys, nbformat, nbclient
notebook = nbformat.read(sys.argv[1], as_version=4)
nbclient.NotebookClient(notebook, kernel_name="python3", timeout={CELL_TIMEOUT_S}).execute()
nbformat.write(notebook, sys.argv[2])
"""
"""In a process of its own, because Jupyter's libraries leave sockets behind, which is an error in ours."""


def code_cells(path: Path) -> list[dict[str, Any]]:
    return [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]


@each_notebook
def test_notebook_is_kept_without_outputs(path: Path) -> None:
    cells = code_cells(path)
    assert cells
    assert [cell["id"] for cell in cells if cell["outputs"] or cell["execution_count"] is not None] == []


@each_notebook
def test_notebook_runs_from_top_to_bottom(path: Path, tmp_path: Path) -> None:
    """In an empty folder that is also the home. An error in a cell ends it; one of our nouns must have shown itself."""
    done = tmp_path / "done.ipynb"
    environment = {key: value for key, value in os.environ.items() if key != "TRADEWIND_WORKSPACE"}
    run = subprocess.run(
        [sys.executable, "-c", EXECUTE, str(path), str(done)],
        cwd=tmp_path,
        env={**environment, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert run.returncode == 0, run.stderr[-4000:]
    outputs = [output for cell in code_cells(done) for output in cell["outputs"]]
    assert [output for output in outputs if output["output_type"] == "error"] == []
    shown = ["".join(output["data"].get("text/html", "")) for output in outputs if "data" in output]
    assert any(html.startswith("<table>") for html in shown)


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS
