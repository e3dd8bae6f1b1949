"""`platform/` is a source root. As a package it would shadow the stdlib's module, and no Ray worker starts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
ASK = "import sys; sys.path.insert(0, {root!r}); import platform; print(platform.system(), platform.__file__)"


def module_seen_from(root: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", ASK.format(root=str(root))]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60)


def test_source_root_is_no_package() -> None:
    assert (ROOT / "platform" / "tradewind").is_dir()
    assert not (ROOT / "platform" / "__init__.py").exists()


def test_standard_library_wins_in_the_repository() -> None:
    seen = module_seen_from(ROOT)
    assert seen.returncode == 0, seen.stderr
    system, file = seen.stdout.split(maxsplit=1)
    assert system == "Linux"
    assert not Path(file.strip()).is_relative_to(ROOT)


def test_trap_is_real(tmp_path: Path) -> None:
    (tmp_path / "platform").mkdir()
    assert module_seen_from(tmp_path).returncode == 0
    (tmp_path / "platform" / "__init__.py").touch()
    assert module_seen_from(tmp_path).returncode != 0
