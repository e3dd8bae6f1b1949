"""What is imported when: the door is light, and the lower rows need neither Ray nor torch."""

from __future__ import annotations

import subprocess
import sys
import time

from tests.house.test_layers import HOUSE, ROWS

HEAVY = ("ray", "torch", "vllm", "boto3", "transformers", "matplotlib", "pyarrow")
WITHOUT_RAY = [name for row in ROWS[: ROWS.index(("clusters",)) + 1] for name in row]


def output_of(code: str) -> str:
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_import_of_tradewind_brings_in_nothing_heavy() -> None:
    code = f"import sys, tradewind; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    assert output_of(code) == ""


def test_lower_rows_import_without_ray_and_torch() -> None:
    there = [
        name for name in WITHOUT_RAY if (HOUSE / name / "__init__.py").is_file() or (HOUSE / f"{name}.py").is_file()
    ]
    assert {"errors", "specs", "storage"} <= set(there)
    code = f"""
import importlib, sys
sys.modules.update(dict.fromkeys(("ray", "torch", "vllm")))
for name in {there!r}:
    try:
        importlib.import_module("tradewind." + name)
    except ImportError as exc:
        print(name, "needs more:", exc)
"""
    assert output_of(code) == ""


def test_import_takes_less_than_a_third_of_a_second() -> None:
    """The one test of time. The best of five runs, because other work on the machine only ever adds to it."""
    assert best_of_five("import tradewind") - best_of_five("pass") < 0.3


def best_of_five(code: str) -> float:
    return min(_seconds(code) for _ in range(5))


def _seconds(code: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    return time.perf_counter() - began
