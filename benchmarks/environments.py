"""Virtual environments for libraries that cannot live together, each made when it is first needed.

One holds only what a peer adds or needs in another version. For all else, torch above all, it looks into the
environment that this program runs in, so gigabytes are not installed again.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

REQUIREMENTS: Mapping[str, tuple[str, ...]] = {
    "mosaic": ("mosaicml-streaming==0.13.0",),
    "litdata": ("litdata==0.2.76",),
    "huggingface": ("datasets==5.2.0", "s3fs==2026.9.0", "torchdata==0.11.0"),
    "grain": ("grain==0.2.18",),
    "skypilot": ("skypilot==0.14.1",),
}
"""Peers that are not here run in the environment of this program."""

STAND_INS: Mapping[str, Mapping[str, str]] = {
    "mosaic": {
        "torchvision/__init__.py": "",
        "torchvision/datasets.py": "class VisionDataset:\n    pass\n",
        "torchvision/transforms/__init__.py": "",
        "torchvision/transforms/functional.py": "to_tensor = None\n",
        "torchvision-0.28.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: torchvision\nVersion: 0.28.0\n",
        "torchvision-0.28.0.dist-info/INSTALLER": "tradewind-benchmarks\n",
        "torchvision-0.28.0.dist-info/RECORD": "",
    }
}
"""mosaicml-streaming imports torchvision for its image datasets, and PyPI's does not load with torch for processors."""


def python_for(peer: str, folder: Path) -> Path:
    """The interpreter that runs a peer, its environment made below `folder` if it is not there.

    Raises RuntimeError with what pip said when it fails.
    """
    requirements = REQUIREMENTS.get(peer)
    if requirements is None:
        return Path(sys.executable)
    environment = folder / peer
    made, recipe = environment / "made.txt", "\n".join((sys.executable, sys.version, *requirements))
    python = environment / "bin" / "python"
    if not made.exists() or made.read_text() != recipe:
        shutil.rmtree(environment, ignore_errors=True)
        _make(environment, python, requirements, STAND_INS.get(peer, {}))
        made.write_text(recipe)
    return python


def _make(environment: Path, python: Path, requirements: tuple[str, ...], stand_ins: Mapping[str, str]) -> None:
    _run(sys.executable, "-m", "venv", str(environment))
    packages = Path(sysconfig.get_path("purelib", "venv", vars={"base": str(environment)}))
    (packages / "below.pth").write_text(sysconfig.get_path("purelib") + "\n")
    for name, text in stand_ins.items():
        (packages / name).parent.mkdir(parents=True, exist_ok=True)
        (packages / name).write_text(text)
    _run(str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements)


def _run(*command: str) -> None:
    """Quietly: pip warns of packages below, which it takes for installed here; what counts is whether it fails."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {done.stderr.strip()[-1000:]}")
