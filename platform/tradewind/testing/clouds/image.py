"""What is installed on a lab's hosts: a virtual environment with Ray, this program and the SDKs of all clouds."""

from __future__ import annotations

import os
from pathlib import Path

IMAGE_VARIABLE = "TRADEWIND_LAB_IMAGE"


def image_folder() -> Path:
    """Where the environment of hosts is, or would be; TRADEWIND_LAB_IMAGE names another place."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get(IMAGE_VARIABLE) or cache / "tradewind" / "lab" / "image")


def seconds_path() -> Path:
    """Where the lab leaves what took how long in its last runs, as JSON."""
    return image_folder().parent / "seconds.json"


def image_available() -> bool:
    """Whether it is there whole: the mark is set when all was installed."""
    return (image_folder() / "installed").exists()


def image_path() -> str:
    """The `PATH` of hosts."""
    return f"{image_folder()}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
